"""Writes test/optim/trajectories.json: 20 steps of every optimizer and schedule, for optimizers.test.ts to follow.

Usage: python test/optim/make.py

PyTorch's optimizers where it has them, in float64; else the paper's algorithm, written out here. The gradient of
parameter p at step t (from 0) is (p - 0.3) * 0.7 + ((i * 37 + t * 11) % 17 / 8 - 1) * 0.5, i counting its elements.
"""

import json
import math
import pathlib

import torch

here = pathlib.Path(__file__).parent
STEPS = 20
O = torch.optim


def start(shape):
    size = math.prod(shape)
    return ((torch.arange(size, dtype=torch.float64) * 13 % 29) / 14 - 1).reshape(shape)


def gradient(p, step):
    i = torch.arange(p.numel(), dtype=torch.float64).reshape(p.shape)
    return (p.detach() - 0.3) * 0.7 + ((i * 37 + step * 11) % 17 / 8 - 1) * 0.5


def trajectory(make, shapes):
    parameters = [torch.nn.Parameter(start(s)) for s in shapes]
    optimizer = make(parameters)
    for step in range(STEPS):
        for p in parameters:
            p.grad = gradient(p, step)
        optimizer.step()
    return [p.detach().flatten().tolist() for p in parameters]


class Written:
    """An optimizer that is not in PyTorch (or is there in another precision)."""

    def __init__(self, parameters):
        self.parameters, self.t = parameters, 0
        self.m = [torch.zeros_like(p) for p in parameters]
        self.v = [torch.zeros_like(p) for p in parameters]

    @torch.no_grad()
    def step(self):
        self.t += 1
        for p, m, v in zip(self.parameters, self.m, self.v):
            self.update(p, p.grad, m, v)


class Lion(Written):
    """Algorithm 2 of Chen et al., 2023; lr 0.02, betas 0.9 and 0.99, decay 0.1."""

    def update(self, p, g, m, v):
        direction = torch.sign(0.9 * m + 0.1 * g)
        p.sub_(0.02 * (direction + 0.1 * p))
        m.mul_(0.99).add_(0.01 * g)


class Lamb(Written):
    """Algorithm 2 of You et al., 2020, with phi the identity; lr 0.02, eps 1e-6, decay 0.05."""

    def update(self, p, g, m, v):
        m.mul_(0.9).add_(0.1 * g)
        v.mul_(0.999).add_(0.001 * g * g)
        r = (m / (1 - 0.9**self.t)) / ((v / (1 - 0.999**self.t)).sqrt() + 1e-6) + 0.05 * p
        p.sub_(0.02 * p.norm() / r.norm() * r)


class Muon(Written):
    """Jordan et al., 2024, with Nesterov's momentum 0.95 as an average, lr 0.02, decay 0.1; in full precision."""

    def update(self, p, g, m, v):
        m.lerp_(g, 0.05)
        x = g.lerp(m, 0.95)
        tall = x.shape[0] > x.shape[1]
        x = x.T if tall else x
        x = x / x.norm().clamp(min=1e-7)
        for _ in range(5):
            a = x @ x.T
            x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
        p.mul_(1 - 0.02 * 0.1).sub_(0.02 * max(1, p.shape[0] / p.shape[1]) ** 0.5 * (x.T if tall else x))


OPTIMIZERS = {
    "sgd": lambda p: O.SGD(p, lr=0.1),
    "sgd momentum": lambda p: O.SGD(p, lr=0.1, momentum=0.9, dampening=0.2, weight_decay=0.05),
    "sgd nesterov": lambda p: O.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
    "adam": lambda p: O.Adam(p, lr=0.05, betas=(0.8, 0.99), weight_decay=0.1),
    "adamw": lambda p: O.AdamW(p, lr=0.05, weight_decay=0.1),
    "rmsprop": lambda p: O.RMSprop(p, lr=0.02),
    "rmsprop centered": lambda p: O.RMSprop(p, lr=0.02, alpha=0.9, momentum=0.5, centered=True, weight_decay=0.1),
    "adagrad": lambda p: O.Adagrad(p, lr=0.1, lr_decay=0.05, initial_accumulator_value=0.1, weight_decay=0.1),
    "adadelta": lambda p: O.Adadelta(p, lr=1.0, rho=0.8, weight_decay=0.1),
    "adafactor": lambda p: O.Adafactor(p, lr=0.1, weight_decay=0.1),
    "lion": Lion,
    "lamb": Lamb,
}
MATRICES = {"muon": Muon}


def rates(make, steps, lr=1.0):
    optimizer = O.SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr)
    schedule = make(optimizer)
    found = []
    for step in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return found


def plateau():
    optimizer = O.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = O.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=1, cooldown=1, min_lr=0.1)
    found = []
    for value in [5, 4, 4, 4.1, 4.2, 4.3, 3, 3, 3, 3, 3, 3, 3, 2.99999]:
        found.append(optimizer.param_groups[0]["lr"])
        schedule.step(value)
    return found


S = O.lr_scheduler
SCHEDULES = {
    "step": rates(lambda o: S.StepLR(o, 3, 0.5), 12),
    "multi step": rates(lambda o: S.MultiStepLR(o, [2, 5], 0.5), 12),
    "exponential": rates(lambda o: S.ExponentialLR(o, 0.9), 12),
    "cosine": rates(lambda o: S.CosineAnnealingLR(o, 10, eta_min=0.1), 11),
    "restarts": rates(lambda o: S.CosineAnnealingWarmRestarts(o, 4, T_mult=2, eta_min=0.1), 26),
    "one cycle": rates(lambda o: S.OneCycleLR(o, max_lr=1.0, total_steps=20, cycle_momentum=False), 20),
    "polynomial": rates(lambda o: S.PolynomialLR(o, 10, power=2.0), 14),
    "plateau": plateau(),
}


def main():
    found = {name: trajectory(make, [(3, 4), (5,)]) for name, make in OPTIMIZERS.items()}
    found.update({name: trajectory(make, [(3, 4), (5, 2)]) for name, make in MATRICES.items()})
    (here / "trajectories.json").write_text(json.dumps({"optimizers": found, "schedules": SCHEDULES}) + "\n")


main()

"""PyTorch's side of the benchmarks; see worker.mjs for the protocol."""

import json
import math
import os
import sys
import time

import torch
from torch import nn
from torch.nn import functional as F

torch.set_num_threads(int(os.environ["BENCH_THREADS"]))


def formula(shape, number, bound=1.0):
    index = torch.arange(math.prod(shape), dtype=torch.float64)
    return (((index * 7919 + number * 104729) % 1000 / 500 - 1) * bound).reshape(shape).float()


def fill(model):
    with torch.no_grad():
        for number, parameter in enumerate(model.parameters()):
            parameter.copy_(formula(parameter.shape, number, 1 / math.sqrt(parameter[0].numel())))


class Flatten(nn.Module):
    """Channels last, so that the dense weights are the same on all sides."""

    def forward(self, x):
        return x.permute(0, 2, 3, 1).flatten(1)


def training(model, optimizer, loss_of):
    fill(model)

    def run(iterations):
        first = None
        for _ in range(iterations):
            loss = loss_of(model)
            loss.backward()
            if optimizer:
                optimizer.step()
                optimizer.zero_grad()
            else:
                model.zero_grad()
            if first is None:
                first = loss.item()
        return first

    return run


def classes(count, of):
    return torch.tensor([i * 7 % of for i in range(count)])


def product(m, k, n):
    a, b = formula((m, k), 1), formula((k, n), 2)

    def run(iterations):
        for _ in range(iterations):
            a @ b

    return run


def add4():
    a, b = torch.tensor([1.0, 2, 3, 4]), torch.tensor([1.0, 2, 3, 4])

    def run(iterations):
        for _ in range(iterations):
            a + b

    return run


def mm64():
    a, b = formula((64, 64), 1).requires_grad_(), formula((64, 64), 2).requires_grad_()

    def run(iterations):
        for _ in range(iterations):
            a.grad = b.grad = None
            (a @ b).relu().sum().backward()

    return run


def tiny_mlp():
    model = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 1))
    x, y = formula((32, 2), 5), formula((32, 1), 6)
    return training(model, torch.optim.SGD(model.parameters(), lr=0.01), lambda m: F.mse_loss(m(x), y))


def mlp():
    model = nn.Sequential(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10))
    x, y = formula((128, 784), 5), classes(128, 10)
    return training(model, torch.optim.AdamW(model.parameters(), lr=1e-4), lambda m: F.cross_entropy(m(x), y))


def cnn():
    model = nn.Sequential(nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(32, 64, 3, padding=1),
                          nn.ReLU(), nn.MaxPool2d(2), Flatten(), nn.Linear(3136, 10)).to(memory_format=torch.channels_last)
    x = formula((64, 28, 28, 1), 5).permute(0, 3, 1, 2)
    y = classes(64, 10)
    return training(model, torch.optim.AdamW(model.parameters(), lr=1e-4), lambda m: F.cross_entropy(m(x), y))


def lstm():
    model = nn.LSTM(512, 512, batch_first=True)
    x = formula((64, 64, 512), 5)
    return training(model, None, lambda m: m(x)[0].square().mean())


WORKLOADS = {"add4": add4, "mm64": mm64, "matmul1024": lambda: product(1024, 1024, 1024),
             "matmul2048": lambda: product(2048, 768, 3072), "tinyMlp": tiny_mlp, "mlp": mlp, "cnn": cnn, "lstm": lstm}


def main():
    print(json.dumps({"ready": {"name": "PyTorch eager", "version": torch.__version__, "threads": torch.get_num_threads()}}), flush=True)
    prepared = {}
    for line in sys.stdin:
        request = json.loads(line)
        name = request["workload"]
        if name not in prepared:
            prepared[name] = WORKLOADS[name]()
        start = time.perf_counter()
        check = prepared[name](request["iterations"])
        print(json.dumps({"seconds": time.perf_counter() - start, "check": check}), flush=True)


main()

"""Writes test/parity/losses.json: the losses of 100 steps of three networks in PyTorch, for parity.test.ts to follow.

Usage: python test/parity/make.py

Weights and data come from formulas and files that both sides have: parameter number p has the values
((i * 7919 + p * 104729) % 1000 / 500 - 1) * bound, with bound = 1 / sqrt(fan in), i counting in PyTorch's layout.
"""

import csv
import json
import math
import pathlib

import torch
from torch import nn

here = pathlib.Path(__file__).parent
STEPS, BATCH = 100, 64


def digits():
    with open(here.parents[1] / "data" / "digits.csv") as file:
        rows = [[float(v) for v in row] for row in list(csv.reader(file))[1:]]
    table = torch.tensor(rows)
    return table[:, :-1] / 16, table[:, -1].long()


def fill(model):
    with torch.no_grad():
        for number, parameter in enumerate(model.parameters()):
            bound = 1 / math.sqrt(parameter[0].numel())
            index = torch.arange(parameter.numel(), dtype=torch.float64)
            values = ((index * 7919 + number * 104729) % 1000 / 500 - 1) * bound
            parameter.copy_(values.reshape(parameter.shape).float())


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(8, 48, num_layers=2, batch_first=True)
        self.head = nn.Linear(48, 10)

    def forward(self, x):
        return self.head(self.lstm(x)[0][:, -1])


class Last(nn.Module):
    """Flattens as channels-last networks do, so that the dense weights are the same on both sides."""

    def forward(self, x):
        return x.permute(0, 2, 3, 1).flatten(1)


def train(model, optimizer, shape):
    fill(model)
    x, y = digits()
    losses = []
    for step in range(STEPS):
        rows = [(step * BATCH + i) % len(x) for i in range(BATCH)]
        loss = nn.functional.cross_entropy(model(x[rows].reshape(BATCH, *shape)), y[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def main():
    torch.set_num_threads(1)
    mlp = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 64), nn.GELU(), nn.Linear(64, 10))
    cnn = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
                        nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), Last(), nn.Linear(512, 10))
    lstm = Recurrent()
    losses = {
        "mlp": train(mlp, torch.optim.AdamW(mlp.parameters(), lr=1e-3), (64,)),
        # At higher rates rounding grows until a ReLU or a maximum falls the other way.
        "cnn": train(cnn, torch.optim.SGD(cnn.parameters(), lr=0.01, momentum=0.9), (1, 8, 8)),
        "lstm": train(lstm, torch.optim.Adam(lstm.parameters(), lr=2e-3), (8, 8)),
    }
    (here / "losses.json").write_text(json.dumps(losses) + "\n")


main()

"""Small networks, as the functions of a module each."""

from types import SimpleNamespace

import torch
from torch import nn
from torch.nn import functional as F

from models.inputs import adam_w, choices, floats, images


class Flatten(nn.Module):
    """Channels last, so that the dense weights are the same on all sides."""

    def forward(self, x):
        return x.permute(0, 2, 3, 1).flatten(1)


def make_cnn(**_):
    return nn.Sequential(nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(32, 64, 3, padding=1),
                         nn.ReLU(), nn.MaxPool2d(2), Flatten(), nn.Linear(3136, 10)).to(memory_format=torch.channels_last)


def classification(model, x, y):
    return F.cross_entropy(model(x), y)


tiny_mlp = SimpleNamespace(
    model=lambda **_: nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 1)),
    batch=lambda batch, **_: [floats((batch, 2), 5), floats((batch, 1), 6)],
    loss=lambda model, x, y: F.mse_loss(model(x), y),
    optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.01, fused=True))

mlp = SimpleNamespace(
    model=lambda **_: nn.Sequential(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10)),
    batch=lambda batch, **_: [floats((batch, 784), 5), choices((batch,), 3, 10)],
    loss=classification,
    optimizer=adam_w)

cnn = SimpleNamespace(
    model=make_cnn,
    batch=lambda batch, **_: [images((batch, 28, 28, 1), 5), choices((batch,), 3, 10)],
    loss=classification,
    optimizer=adam_w)

lstm = SimpleNamespace(
    model=lambda size, **_: nn.LSTM(size, size, batch_first=True),
    batch=lambda batch, sequence, size, **_: [floats((batch, sequence, size), 5)],
    loss=lambda model, x: model(x)[0].square().mean(),
    optimizer=adam_w)

"""Writes test/parity/losses.json: the losses of 100 steps of five networks in PyTorch, for parity.test.ts to follow.

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
# Of the transformers: tokens are pixels, from 0 to 16, of the middle of an image.
SEQUENCES, LENGTH, FIRST, VOCABULARY, SIZE, HEADS, LAYERS = 8, 32, 16, 17, 32, 4, 2


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


class Attention(nn.Module):
    """With nn.MultiheadAttention's parameters."""

    def __init__(self, causal):
        super().__init__()
        self.causal = causal
        self.in_proj_weight = nn.Parameter(torch.empty(3 * SIZE, SIZE))
        self.in_proj_bias = nn.Parameter(torch.empty(3 * SIZE))
        self.out_proj = nn.Linear(SIZE, SIZE)

    def forward(self, x):
        mixed = nn.functional.linear(x, self.in_proj_weight, self.in_proj_bias)
        q, k, v = mixed.view(*x.shape[:2], 3, HEADS, -1).permute(2, 0, 3, 1, 4)
        attended = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        return self.out_proj(attended.transpose(1, 2).reshape(x.shape))


class Block(nn.Module):
    """A layer of a transformer: with `causal` GPT's, which normalises before, else BERT's, which does after."""

    def __init__(self, causal):
        super().__init__()
        self.causal = causal
        self.self_attn = Attention(causal)
        self.linear1 = nn.Linear(SIZE, 4 * SIZE)
        self.linear2 = nn.Linear(4 * SIZE, SIZE)
        self.norm1 = nn.LayerNorm(SIZE)
        self.norm2 = nn.LayerNorm(SIZE)

    def forward(self, x):
        feed = lambda h: self.linear2(nn.functional.gelu(self.linear1(h)))
        if self.causal:
            x = x + self.self_attn(self.norm1(x))
            return x + feed(self.norm2(x))
        x = self.norm1(x + self.self_attn(x))
        return self.norm2(x + feed(x))


class Transformer(nn.Module):
    """GPT predicts the next token with its embedding as head; BERT tells the digit from the first place."""

    def __init__(self, causal):
        super().__init__()
        self.tokens = nn.Embedding(VOCABULARY, SIZE)
        self.places = nn.Embedding(LENGTH, SIZE)
        self.blocks = nn.ModuleList(Block(causal) for _ in range(LAYERS))
        self.head = nn.LayerNorm(SIZE) if causal else nn.Linear(SIZE, 10)
        self.causal = causal

    def forward(self, x):
        h = self.tokens(x) + self.places(torch.arange(LENGTH))
        for block in self.blocks:
            h = block(h)
        if self.causal:
            return nn.functional.linear(self.head(h), self.tokens.weight).flatten(0, 1)
        return self.head(h[:, 0])


class Last(nn.Module):
    """Flattens as channels-last networks do, so that the dense weights are the same on both sides."""

    def forward(self, x):
        return x.permute(0, 2, 3, 1).flatten(1)


def images(shape):
    x, y = digits()

    def batch(step):
        rows = [(step * BATCH + i) % len(x) for i in range(BATCH)]
        return x[rows].reshape(BATCH, *shape), y[rows]

    return batch


def sequences(causal):
    x, y = digits()
    pixels = (x * 16).long()

    def batch(step):
        rows = [(step * SEQUENCES + i) % len(x) for i in range(SEQUENCES)]
        tokens = pixels[rows, FIRST:FIRST + LENGTH + 1]
        return tokens[:, :-1], tokens[:, 1:].flatten() if causal else y[rows]

    return batch


def train(model, optimizer, batch):
    fill(model)
    losses = []
    for step in range(STEPS):
        x, y = batch(step)
        loss = nn.functional.cross_entropy(model(x), y)
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
    gpt, bert = Transformer(True), Transformer(False)
    losses = {
        "mlp": train(mlp, torch.optim.AdamW(mlp.parameters(), lr=1e-3), images((64,))),
        # At higher rates rounding grows until a ReLU or a maximum falls the other way.
        "cnn": train(cnn, torch.optim.SGD(cnn.parameters(), lr=0.01, momentum=0.9), images((1, 8, 8))),
        "lstm": train(lstm, torch.optim.Adam(lstm.parameters(), lr=2e-3), images((8, 8))),
        "gpt": train(gpt, torch.optim.AdamW(gpt.parameters(), lr=1e-3), sequences(True)),
        "bert": train(bert, torch.optim.AdamW(bert.parameters(), lr=1e-3), sequences(False)),
    }
    (here / "losses.json").write_text(json.dumps(losses) + "\n")


main()

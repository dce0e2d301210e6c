import torch
from torch import nn
from torch.nn import functional as F

from models.inputs import Attention, adam_w, choices

SIZE, HEADS, VOCABULARY, POSITIONS = 768, 12, 50257, 1024


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm1 = nn.LayerNorm(SIZE)
        self.attention = Attention(SIZE, HEADS, causal=True)
        self.norm2 = nn.LayerNorm(SIZE)
        self.linear1 = nn.Linear(SIZE, 4 * SIZE)
        self.linear2 = nn.Linear(4 * SIZE, SIZE)

    def forward(self, x):
        x = x + self.attention(self.norm1(x))
        return x + self.linear2(F.gelu(self.linear1(self.norm2(x)), approximate="tanh"))


class Gpt2(nn.Module):
    def __init__(self, layers):
        super().__init__()
        self.tokens = nn.Embedding(VOCABULARY, SIZE)
        self.places = nn.Embedding(POSITIONS, SIZE)
        self.blocks = nn.ModuleList(Block() for _ in range(layers))
        self.norm = nn.LayerNorm(SIZE)

    def forward(self, x):
        hidden = self.tokens(x) + self.places(torch.arange(x.shape[1], device=x.device))
        for block in self.blocks:
            hidden = block(hidden)
        return F.linear(self.norm(hidden), self.tokens.weight)


def model(layers, **_):
    return Gpt2(layers)


def batch(batch, sequence, **_):
    return [choices((batch, sequence), number, VOCABULARY) for number in (1, 2)]


def loss(model, x, y):
    return F.cross_entropy(model(x).view(-1, VOCABULARY), y.view(-1))


optimizer = adam_w

import torch
from torch import nn
from torch.nn import functional as F

from models.inputs import Attention, adam_w, choices

SIZE, HEADS, VOCABULARY, POSITIONS, CLASSES = 768, 12, 30522, 512, 2


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.self_attn = Attention(SIZE, HEADS)
        self.linear1 = nn.Linear(SIZE, 4 * SIZE)
        self.linear2 = nn.Linear(4 * SIZE, SIZE)
        self.norm1 = nn.LayerNorm(SIZE, eps=1e-12)
        self.norm2 = nn.LayerNorm(SIZE, eps=1e-12)

    def forward(self, x):
        x = self.norm1(x + self.self_attn(x))
        return self.norm2(x + self.linear2(F.gelu(self.linear1(x))))


class Encoder(nn.Module):
    def __init__(self, layers):
        super().__init__()
        self.layers = nn.ModuleList(Layer() for _ in range(layers))

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return x


class Bert(nn.Module):
    def __init__(self, layers):
        super().__init__()
        self.tokens = nn.Embedding(VOCABULARY, SIZE)
        self.places = nn.Embedding(POSITIONS, SIZE)
        self.types = nn.Embedding(2, SIZE)
        self.norm = nn.LayerNorm(SIZE, eps=1e-12)
        self.encoder = Encoder(layers)
        self.pooler = nn.Linear(SIZE, SIZE)
        self.classifier = nn.Linear(SIZE, CLASSES)

    def forward(self, x, types):
        embedded = self.tokens(x) + self.places(torch.arange(x.shape[1], device=x.device)) + self.types(types)
        hidden = self.encoder(self.norm(embedded))
        return self.classifier(torch.tanh(self.pooler(hidden[:, 0])))


def model(layers, **_):
    return Bert(layers)


def inputs(batch, sequence, **_):
    return [choices((batch, sequence), 1, VOCABULARY), choices((batch, sequence), 2, 2)]


def batch(batch, **options):
    return [*inputs(batch, **options), choices((batch,), 3, CLASSES)]


def loss(model, x, types, y):
    return F.cross_entropy(model(x, types), y)


optimizer = adam_w

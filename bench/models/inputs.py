import math

import torch
from torch import nn
from torch.nn import functional as F


def floats(shape, number):
    """Floats within ±1: the formula of values.mjs."""
    index = torch.arange(math.prod(shape), dtype=torch.float64)
    return ((index * 7919 + number * 104729) % 1000 / 500 - 1).reshape(shape).float()


def images(shape, number):
    """Images [N, H, W, C] as PyTorch has them, channels last in memory."""
    return floats(shape, number).permute(0, 3, 1, 2)


def choices(shape, number, count):
    """Indices below `count`."""
    return ((torch.arange(math.prod(shape)) * 7919 + number * 104729) % count).reshape(shape)


def adam_w(parameters):
    return torch.optim.AdamW(parameters, lr=1e-4, fused=True)


class Attention(nn.Module):
    """Self-attention with nn.MultiheadAttention's parameters, by PyTorch's fused kernel."""

    def __init__(self, size, heads, causal=False):
        super().__init__()
        self.heads, self.causal = heads, causal
        self.in_proj_weight = nn.Parameter(torch.empty(3 * size, size))
        self.in_proj_bias = nn.Parameter(torch.empty(3 * size))
        self.out_proj = nn.Linear(size, size)

    def forward(self, x):
        n, t, size = x.shape
        mixed = F.linear(x, self.in_proj_weight, self.in_proj_bias).view(n, t, 3, self.heads, -1)
        q, k, v = mixed.permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        return self.out_proj(attended.transpose(1, 2).reshape(n, t, size))

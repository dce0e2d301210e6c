"""Attention and rotary embedding."""

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from cases import case, rand, values


def sdpa(causal=False, scale=None, grouped=False):
    def run(q, k, v, mask=None):
        if causal and mask is not None:
            allowed = torch.ones(q.shape[2], k.shape[2], dtype=torch.bool).tril()
            mask = mask & allowed if mask.dtype == torch.bool else mask.masked_fill(~allowed, float("-inf"))
        # The plain formula, which has second-order gradients.
        with sdpa_kernel(SDPBackend.MATH):
            return F.scaled_dot_product_attention(q, k, v, mask, is_causal=causal and mask is None, scale=scale,
                                                  enable_gqa=grouped)

    return run


def attention(name, q, k, v, mask=None, causal=False, scale=None, **options):
    attrs = {**({"causal": True} if causal else {}), **({"scale": scale} if scale is not None else {})}
    case("scaledDotProductAttention", [rand(*q), rand(*k), rand(*v), mask], attrs, sdpa(causal, scale, q[1] != k[1]), name=name,
         **options)


attention("plain", (2, 2, 5, 4), (2, 2, 3, 4), (2, 2, 3, 6))
attention("causal", (1, 2, 5, 4), (1, 2, 5, 4), (1, 2, 5, 4), causal=True)
attention("causal, fewer queries", (1, 1, 3, 4), (1, 1, 5, 4), (1, 1, 5, 2), causal=True)
attention("causal, more queries", (1, 1, 5, 4), (1, 1, 3, 4), (1, 1, 3, 2), causal=True)
attention("scale", (1, 1, 3, 4), (1, 1, 3, 4), (1, 1, 3, 4), scale=0.3)
attention("grouped heads", (1, 4, 3, 4), (1, 2, 3, 4), (1, 2, 3, 4))
attention("bool mask", (2, 1, 3, 4), (2, 1, 4, 4), (2, 1, 4, 4),
          values([[[[True, False, True, True]] * 3], [[[False, True, True, False]] * 3]], dtype="bool"))
attention("float mask", (1, 2, 3, 4), (1, 2, 4, 4), (1, 2, 4, 4), rand(3, 4))
attention("bool mask and causal", (1, 1, 3, 4), (1, 1, 3, 4), (1, 1, 3, 4),
          values([[True, True, True], [False, True, True], [True, False, True]], dtype="bool"), causal=True)
# Depths that are multiples of 8, which tensor cores take.
attention("depth of 8", (1, 2, 3, 8), (1, 1, 5, 8), (1, 1, 5, 8), causal=True)
attention("depth of 8, float mask", (1, 1, 3, 8), (1, 1, 4, 8), (1, 1, 4, 8), rand(3, 4))


def rotary(interleaved=False, base=10000.0, offset=0):
    def run(x, p=None, f=None):
        depth = x.shape[-1]
        f = f if f is not None else base ** (-2 * torch.arange(depth // 2, dtype=torch.float64) / depth)
        p = p if p is not None else torch.arange(x.shape[-2])
        angle = (p + offset).double()[..., None] * f.double()
        cos, sin = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
        if interleaved:
            a, b = x[..., 0::2], x[..., 1::2]
            return torch.stack([a * cos - b * sin, a * sin + b * cos], -1).flatten(-2)
        a, b = x.chunk(2, -1)
        return torch.cat([a * cos - b * sin, a * sin + b * cos], -1)

    return run


case("rotaryEmbedding", [rand(2, 3, 5, 6), None, None], {}, rotary(), name="halves")
case("rotaryEmbedding", [rand(3, 4), None, None], {"interleaved": True}, rotary(interleaved=True), name="interleaved")
case("rotaryEmbedding", [rand(2, 3, 4), None, None], {"base": 100, "offset": 7}, rotary(base=100.0, offset=7), name="base and offset")
case("rotaryEmbedding", [rand(2, 2, 3, 4), values([[[4, 0, 9]], [[1, 1, 5]]], dtype="int64"), None], {}, rotary(), name="positions")

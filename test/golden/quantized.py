"""Layers with int8 weights. The reference takes the levels of activations, 0 to 127, as whole numbers in float64: sums are exact."""

import torch
import torch.nn.functional as F
from cases import FLOATS, case, ints, rand, values

LEAST = torch.finfo(torch.float32).tiny


def levels(x, axes):
    """What stands for `x` in whole numbers, and their scale."""
    x = x.float()
    low, high = x.amin(axes, True).clamp(max=0), x.amax(axes, True).clamp(min=0)
    scale = high / 127 - low / 127
    used = scale >= LEAST
    inverse = torch.where(used, 1 / scale, 0.0)
    zero = torch.round(-low * inverse)
    whole = (torch.round(x * inverse) + zero).clamp(max=127) - zero
    scale = torch.where(used, scale, 0.0)
    return whole.double(), torch.where(scale.isfinite(), scale, torch.nan).double()


def linear(x, w, scale, bias):
    whole, step = levels(x, -1)
    y = whole @ w.double().T * step * scale.double()
    return (y if bias is None else y + bias.double()).to(x.dtype)


CONV = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}


def conv(rank, stride=1, padding=0, dilation=1, groups=1, same=False):
    def run(x, w, scale, bias):
        whole, step = levels(x, tuple(range(1, rank + 2)))
        whole, pad = whole.movedim(-1, 1), "same" if same else padding
        if isinstance(padding, list) and len(padding) == 2 * rank:
            whole, pad = F.pad(whole, [p for i in reversed(range(rank)) for p in padding[2 * i : 2 * i + 2]]), 0
        y = CONV[rank](whole, w.double().movedim(-1, 1), None, stride, pad, dilation, groups).movedim(1, -1)
        y = y * step * scale.double()
        return (y if bias is None else y + bias.double()).to(x.dtype)

    return run


SINGLE = {"rtol": 2e-6, "atol": 2e-6}  # whatever the dtype, sums are rescaled in float32


def weights(shape, bias):
    outputs = shape[0]
    return [ints(*shape, low=-128, high=127, dtype="int8"), rand(outputs, low=0.001, high=0.02),
            rand(outputs) if bias else None]


def linear_case(x, w, bias=True, name=None, dtypes=FLOATS):
    inputs = [rand(*x) if isinstance(x, tuple) else x, *weights(w, bias)]
    case("quantizedLinear", inputs, torch=linear, grad=False, second=False, name=name, dtypes=dtypes, **SINGLE)


NAN, INF = float("nan"), float("inf")
linear_case((3, 5), (4, 5))
linear_case((2, 3, 8), (5, 8), bias=False)
linear_case((7,), (3, 7), name="one row")
linear_case((6, 4), (1, 4), name="one output")
linear_case((0, 4), (3, 4), name="no rows")
linear_case((5, 33), (35, 33), name="more than a panel", dtypes=("float32",))
linear_case((2, 70), (3, 70), name="few rows, a rest of a vector", dtypes=("float32",))
linear_case(values([[0, 0, 0], [NAN, 1, 2], [INF, 0, 1], [-INF, 1, 2], [1, -2, 3]]), (2, 3), name="special values",
            dtypes=("float32", "float64", "bfloat16"))
linear_case(values([[3e38, -3e38, 1e38], [1e-39, 0, -1e-39], [5, 6, 7], [-5, -6, -7], [1e-30, 2e-30, 0]]), (2, 3),
            name="extreme values", dtypes=("float32",))


def conv_case(rank, x, w, bias=True, name=None, dtypes=FLOATS, **attrs):
    case(f"quantizedConv{rank}d", [rand(*x), *weights(w, bias)], attrs, conv(rank, **attrs), grad=False, second=False,
         name=name, dtypes=dtypes, **SINGLE)


ONE = ("float32",)
conv_case(1, (2, 7, 3), (4, 3, 3))
conv_case(1, (2, 9, 8), (16, 2, 4), stride=2, padding=1, dilation=2, groups=2, bias=False)
conv_case(1, (1, 6, 2), (3, 4, 2), padding=[1, 2], dtypes=ONE)
conv_case(2, (2, 5, 4, 3), (4, 3, 3, 3), padding=1)
conv_case(2, (1, 7, 6, 4), (3, 3, 2, 4), stride=[2, 1], padding=[1, 0], dilation=[1, 2], dtypes=ONE)
conv_case(2, (1, 5, 5, 2), (2, 3, 3, 2), padding=[0, 1, 2, 0], stride=2, dtypes=ONE)
conv_case(2, (2, 3, 3, 4), (6, 1, 1, 4), name="pointwise")
conv_case(2, (1, 5, 5, 4), (4, 3, 3, 1), padding=1, stride=2, groups=4, name="depthwise")
conv_case(2, (1, 4, 4, 2), (4, 3, 3, 1), padding=1, groups=2, name="depthwise, two filters per channel", dtypes=ONE)
conv_case(2, (1, 4, 4, 12), (16, 2, 3, 6), groups=2, name="grouped", dtypes=ONE)
conv_case(2, (1, 4, 5, 2), (2, 3, 3, 2), same=True, dtypes=ONE)
conv_case(2, (1, 1, 2, 2), (2, 5, 5, 2), padding=3, name="padding wider than the image", dtypes=ONE)
conv_case(2, (0, 4, 4, 2), (3, 3, 3, 2), name="empty batch")
conv_case(3, (1, 3, 4, 3, 2), (2, 2, 3, 2, 2), padding=[1, 1, 0], stride=[1, 2, 1])

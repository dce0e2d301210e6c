"""Pooling, channels last."""

import torch
import torch.nn.functional as F
from cases import FLOATS, case, ints, rand, values

MAX = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
AVERAGE = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}
ADAPTIVE_MAX = {1: F.adaptive_max_pool1d, 2: F.adaptive_max_pool2d, 3: F.adaptive_max_pool3d}
ADAPTIVE_AVERAGE = {1: F.adaptive_avg_pool1d, 2: F.adaptive_avg_pool2d, 3: F.adaptive_avg_pool3d}
NAMES = {"stride": "stride", "padding": "padding", "dilation": "dilation", "ceilMode": "ceil_mode", "countIncludePad": "count_include_pad"}
nan, inf = float("nan"), float("inf")


def first(t):
    return t.movedim(-1, 1)


def last(t):
    return t.movedim(1, -1)


def pool_case(op, table, rank, x, kernel, dtypes=FLOATS, name=None, **attrs):
    options = {NAMES[k]: v for k, v in attrs.items()}
    given = x if not isinstance(x, tuple) else rand(*x)
    case(f"{op}{rank}d", [given], {"kernel": kernel, **attrs}, lambda x: last(table[rank](first(x), kernel, **options)),
         dtypes=dtypes, name=name)


def max_case(rank, x, kernel, **rest):
    pool_case("maxPool", MAX, rank, x, kernel, **rest)


def average_case(rank, x, kernel, **rest):
    pool_case("averagePool", AVERAGE, rank, x, kernel, **rest)


max_case(1, (2, 7, 3), 3)
max_case(1, (1, 8, 2), 3, stride=2, padding=1, dilation=2, ceilMode=True)
max_case(2, (2, 5, 4, 3), 2)
max_case(2, (1, 7, 6, 9), [3, 2], stride=[2, 1], padding=[1, 0], dilation=[1, 2])
max_case(2, (1, 6, 6, 2), 3, stride=2, ceilMode=True, padding=1)
max_case(2, (0, 4, 4, 2), 2, name="empty batch")
max_case(2, (1, 3, 3, 2), 3, name="one window")
max_case(2, values([[[[1.0], [nan], [2.0]], [[-inf], [3.0], [inf]], [[-inf], [-inf], [0.0]]]]), 2, stride=1, name="special values")
max_case(2, values([[[[2.0], [2.0], [1.0]], [[2.0], [2.0], [2.0]]]]), 2, stride=1, name="ties")
max_case(2, ints(1, 4, 4, 3, low=-9, high=9, dtype=None), 2, dtypes=("int8", "int32", "int64"), name="integers")
max_case(3, (1, 3, 4, 3, 2), 2, stride=1, padding=1)
max_case(2, (1, 18, 17, 1), [17, 16], stride=1, name="taps of more than a byte", dtypes=("float32", "float64"))
average_case(1, (2, 7, 3), 3)
average_case(1, (1, 8, 2), 3, stride=2, padding=1, ceilMode=True)
average_case(2, (2, 5, 4, 9), 2)
average_case(2, (1, 6, 6, 2), 3, stride=2, padding=1, ceilMode=True)
average_case(2, (1, 5, 6, 2), [3, 2], stride=2, padding=1, ceilMode=True, countIncludePad=False)
average_case(2, (0, 4, 4, 2), 2, name="empty batch")
average_case(2, values([[[[1.0], [nan], [2.0]], [[-inf], [3.0], [inf]]]]), 2, stride=1, name="special values")
average_case(3, (1, 3, 4, 3, 2), [2, 2, 1], stride=1, padding=[1, 0, 0], countIncludePad=False)

for rank, shape, size in [(1, (2, 7, 3), 3), (2, (1, 5, 4, 9), [2, 3]), (2, (1, 3, 2, 2), [5, 3]), (3, (1, 3, 4, 2, 2), [2, 3, 1])]:
    for op, table in [("adaptiveMaxPool", ADAPTIVE_MAX), ("adaptiveAveragePool", ADAPTIVE_AVERAGE)]:
        case(f"{op}{rank}d", [rand(*shape)], {"size": size},
             lambda x, f=table[rank], size=size: last(f(first(x), size)))

for shape in [(2, 5, 3), (2, 3, 4, 10), (1, 2, 3, 2, 2)]:
    axes = tuple(range(1, len(shape) - 1))
    case("globalAveragePool", [rand(*shape)], {}, lambda x, axes=axes: x.mean(axes))
    case("globalAveragePool", [rand(*shape)], {"keepDims": True}, lambda x, axes=axes: x.mean(axes, keepdim=True))
    case("globalMaxPool", [rand(*shape)], {}, lambda x, axes=axes: x.amax(axes))
    case("globalMaxPool", [rand(*shape)], {"keepDims": True}, lambda x, axes=axes: x.amax(axes, keepdim=True))


# The ops that pooling is made of: windows of 3 x 2 with steps 2 x 1 and padding 1 x 0 over 5 x 4.
WINDOWS = {"input": [5, 4], "output": [3, 3], "kernel": [3, 2], "stride": [2, 1], "padding": [1, 0], "dilation": [1, 1],
           "adaptive": False, "countIncludePad": True}
TORCH = ([3, 2], [2, 1], [1, 0])


def taps_of(flat):
    """Places in the input as numbers within their windows."""
    row = torch.arange(3)[:, None] * 2 - 1
    column = torch.arange(3)[None, :]
    flat = last(flat)
    return ((flat // 4 - row[None, :, :, None]) * 2 + flat % 4 - column[None, :, :, None]).to(torch.uint8)


def with_taps(x):
    y, flat = F.max_pool2d(first(x), *TORCH, return_indices=True)
    return last(y), taps_of(flat)


def flat_of(taps):
    row = torch.arange(3)[:, None] * 2 - 1
    column = torch.arange(3)[None, :]
    taps = taps.long()
    return (taps // 2 + row[None, :, :, None]) * 4 + taps % 2 + column[None, :, :, None]


def pick(x, taps):
    return last(first(x).flatten(2).gather(2, first(flat_of(taps)).flatten(2)).reshape(first(taps).shape))


def spread(g, taps):
    zeros = g.new_zeros(g.shape[0], g.shape[3], 20)
    return last(zeros.scatter_add(2, first(flat_of(taps)).flatten(2), first(g).flatten(2)).reshape(g.shape[0], g.shape[3], 5, 4))


# Window rows begin at -1, so that the first row of windows has its taps from 2 on.
taps = ints(1, 3, 3, 2, low=2, high=4, dtype="uint8")
case("maxPoolTaps", [rand(1, 5, 4, 2)], WINDOWS, with_taps)
case("maxPoolPick", [rand(1, 5, 4, 2), taps], WINDOWS, pick)
case("maxPoolSpread", [rand(1, 3, 3, 2), taps], WINDOWS, spread)
case("averageWindows", [rand(1, 5, 4, 2)], WINDOWS, lambda x: last(F.avg_pool2d(first(x), *TORCH)))


def average_spread(g):
    x = torch.zeros(1, 2, 5, 4, dtype=g.dtype, requires_grad=True)
    with torch.enable_grad():
        return last(torch.autograd.grad(F.avg_pool2d(x, *TORCH), x, first(g), create_graph=True)[0])


case("averageSpread", [rand(1, 3, 3, 2)], WINDOWS, average_spread)

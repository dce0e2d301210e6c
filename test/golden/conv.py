"""Convolutions. Ours are channels last; weights are [out, *kernel, in / groups], transposed ones [in, *kernel, out / groups]."""

import torch
import torch.nn.functional as F
from cases import FLOATS, case, rand

CONV = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
TRANSPOSE = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}


def first(t):
    """Channels from last to first, for data and weights alike."""
    return t.movedim(-1, 1)


def last(t):
    return t.movedim(1, -1)


def pairs(padding, rank):
    """Padding in pairs, as F.pad wants it: the last axis first."""
    return [p for i in reversed(range(rank)) for p in padding[2 * i : 2 * i + 2]]


def conv(rank, stride=1, padding=0, dilation=1, groups=1, same=False):
    def run(x, w, *b):
        x, pad = first(x), padding
        if isinstance(padding, list) and len(padding) == 2 * rank:
            x, pad = F.pad(x, pairs(padding, rank)), 0
        return last(CONV[rank](x, first(w), *b, stride, "same" if same else pad, dilation, groups))

    return run


def conv_case(rank, x, w, bias=False, name=None, dtypes=FLOATS, **attrs):
    inputs = [rand(*x), rand(*w), rand(w[0]) if bias else None]
    run = conv(rank, **attrs)
    case(f"conv{rank}d", inputs, attrs, lambda x, w, b: run(x, w, b), dtypes=dtypes, name=name, rtol=1e-4, atol=1e-4)


conv_case(1, (2, 7, 3), (4, 3, 3), bias=True)
conv_case(1, (2, 8, 4), (4, 3, 2), stride=2, padding=1, dilation=2, groups=2)
conv_case(1, (1, 6, 2), (3, 4, 2), padding=[1, 2])
conv_case(2, (2, 5, 4, 3), (4, 3, 3, 3), bias=True, padding=1)
conv_case(2, (1, 7, 6, 2), (3, 3, 2, 2), stride=[2, 1], padding=[1, 0], dilation=[1, 2])
conv_case(2, (1, 5, 5, 2), (2, 3, 3, 2), padding=[0, 1, 2, 0], stride=2)
conv_case(2, (2, 3, 3, 4), (6, 1, 1, 4), bias=True, name="pointwise")
conv_case(2, (1, 5, 5, 4), (4, 3, 3, 1), bias=True, padding=1, stride=2, groups=4, name="depthwise")
conv_case(2, (1, 4, 4, 2), (4, 3, 3, 1), padding=1, groups=2, name="depthwise, two filters per channel")
conv_case(2, (1, 4, 4, 4), (6, 2, 3, 2), groups=2)
conv_case(2, (1, 4, 5, 2), (2, 2, 3, 2), same=True)
conv_case(2, (1, 3, 3, 2), (2, 3, 3, 2), bias=True, name="one position")
conv_case(2, (0, 4, 4, 2), (3, 3, 3, 2), bias=True, name="empty batch")
conv_case(3, (1, 3, 4, 3, 2), (2, 2, 3, 2, 2), bias=True, padding=[1, 1, 0], stride=[1, 2, 1])
conv_case(3, (1, 3, 3, 3, 2), (2, 2, 2, 2, 1), groups=2, dilation=2)


def transpose_case(rank, x, w, bias=False, name=None, dtypes=FLOATS, **attrs):
    groups = attrs.get("groups", 1)
    torch_attrs = {"output_padding" if k == "outputPadding" else k: v for k, v in attrs.items()}
    inputs = [rand(*x), rand(*w), rand(w[-1] * groups) if bias else None]

    def run(x, w, b):
        return last(TRANSPOSE[rank](first(x), first(w), b, **torch_attrs))

    case(f"convTranspose{rank}d", inputs, attrs, run, dtypes=dtypes, name=name, rtol=1e-4, atol=1e-4)


transpose_case(1, (2, 4, 3), (3, 3, 2), bias=True)
transpose_case(1, (1, 4, 4), (4, 3, 2), stride=2, padding=1, outputPadding=1, groups=2)
transpose_case(1, (1, 4, 2), (2, 3, 2), stride=1, dilation=3, outputPadding=2)
transpose_case(2, (1, 3, 3, 3), (3, 3, 2, 2), bias=True, stride=2, padding=1, outputPadding=1)
transpose_case(2, (1, 3, 2, 4), (4, 2, 3, 1), stride=[2, 1], dilation=[1, 2], groups=4)
transpose_case(2, (2, 3, 3, 2), (2, 1, 1, 3), name="pointwise")
transpose_case(2, (0, 3, 3, 2), (2, 2, 2, 3), bias=True, name="empty batch")
transpose_case(3, (1, 2, 3, 2, 2), (2, 2, 2, 2, 2), bias=True, stride=[1, 2, 2], padding=[0, 1, 0])
# Output beyond the reach of the kernel: outputPadding of at least stride and more than padding.
transpose_case(1, (2, 5, 3), (3, 4, 6), bias=True, padding=1, dilation=4, outputPadding=3, name="beyond")
transpose_case(2, (2, 9, 9, 4), (4, 3, 3, 4), bias=True, dilation=2, outputPadding=1, name="beyond")
transpose_case(2, (1, 4, 5, 16), (16, 3, 3, 8), stride=[1, 2], padding=[0, 1], dilation=[3, 2], outputPadding=[2, 1], groups=2, name="beyond one axis")
transpose_case(2, (1, 4, 4, 3), (3, 1, 1, 2), bias=True, dilation=3, outputPadding=2, name="pointwise, beyond")
transpose_case(3, (1, 2, 3, 2, 2), (2, 2, 2, 3, 4), bias=True, dilation=[2, 3, 1], outputPadding=[1, 2, 0], name="beyond")


def gradient(rank, which, x, w, grad, stride, padding, dilation, groups, bias=None):
    """aten's own gradient of a convolution: 0 to the data, 1 to the weight."""
    mask = [which == 0, which == 1, False]
    out = torch.ops.aten.convolution_backward(first(grad), first(x), first(w), None, stride, padding, dilation, False,
                                              [0] * rank, groups, mask)[which]
    return last(out) + (0 if bias is None else bias)


def gradient_cases(rank, x, w, y, stride, padding, dilation, groups):
    attrs = {"stride": stride, "padding": [p for p in padding for _ in (0, 1)], "dilation": dilation, "groups": groups}
    rest = (stride, padding, dilation, groups)
    case("convData", [rand(*y), rand(*w), rand(x[-1])], {"size": list(x[1:-1]), **attrs},
         lambda g, w, b: gradient(rank, 0, g.new_zeros(x), w, g, *rest, bias=b), rtol=1e-4, atol=1e-4)
    case("convWeights", [rand(*x), rand(*y)], {"size": list(w[1:-1]), **attrs},
         lambda x, g: gradient(rank, 1, x, x.new_zeros(w), g, *rest), rtol=1e-4, atol=1e-4)


gradient_cases(1, (2, 6, 2), (4, 3, 1), (2, 3, 4), [2], [1], [1], 2)
gradient_cases(2, (1, 5, 4, 3), (2, 3, 2, 3), (1, 2, 2, 2), [2, 2], [1, 1], [2, 3], 1)
gradient_cases(3, (1, 3, 3, 2, 2), (2, 2, 2, 1, 2), (1, 2, 2, 2, 2), [1, 1, 1], [0, 0, 0], [1, 1, 1], 1)
WIDE = ("float32", "float64")
# Enough work for the kernels that large problems run on; small tensors all the same.
conv_case(2, (1, 6, 6, 6), (8, 3, 3, 6), bias=True, padding=1, name="more work")
conv_case(2, (1, 9, 9, 8), (8, 5, 5, 1), groups=8, padding=2, bias=True, name="more depthwise work", dtypes=WIDE)
conv_case(1, (1, 40, 6), (8, 7, 6), stride=1, padding=3, name="more work", dtypes=WIDE)
conv_case(2, (1, 5, 5, 12), (12, 3, 3, 6), padding=1, groups=2, name="more grouped work", dtypes=WIDE)
conv_case(3, (1, 4, 4, 4, 3), (4, 3, 3, 3, 3), padding=1, stride=1, name="more work", dtypes=WIDE)
transpose_case(2, (1, 5, 5, 6), (6, 3, 3, 8), stride=2, padding=1, outputPadding=1, name="more work", dtypes=WIDE)

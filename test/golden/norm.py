"""Normalisation, channels last."""

import torch
import torch.nn.functional as F
from cases import case, rand

WIDE = ("float32", "float64")


def first(t):
    return t.movedim(-1, 1)


def last(t):
    return t.movedim(1, -1)


def train(x, w, b, eps=1e-5):
    y = last(F.batch_norm(first(x), None, None, w, b, True, 0.1, eps))
    wide = x if x.dtype == torch.float64 else x.float()
    axes = tuple(range(x.ndim - 1))
    return y, wide.mean(axes), wide.var(axes, correction=0)


for shape in [(5, 3), (2, 4, 3), (2, 2, 3, 9), (1, 2, 2, 2, 2)]:
    case("batchNormTrain", [rand(*shape), rand(shape[-1]), rand(shape[-1])], {}, train, rtol=1e-4, atol=1e-5)
case("batchNormTrain", [rand(2, 3, 2, 2), None, None], {"eps": 0.1}, lambda x, w, b: train(x, w, b, 0.1), rtol=1e-4, atol=1e-5)
case("batchNormTrain", [rand(40, 2, low=90, high=100), None, None], {"eps": 1e-3},
     lambda x, w, b: train(x, w, b, 1e-3), dtypes=WIDE, name="far from zero", rtol=1e-3, atol=1e-4, differences=False)


def infer(x, mean, variance, w, b, eps=1e-5):
    return last(F.batch_norm(first(x), mean, variance, w, b, False, 0.1, eps))


# PyTorch treats given statistics as constants; ours have gradients too, so the formula stands for itself.
def formula(x, mean, variance, w, b):
    y = (x - mean) / (variance + 1e-5).sqrt()
    return (y if w is None else y * w + b).to(x.dtype)


STATISTICS = [rand(3), rand(3, low=0.5, high=2)]
case("batchNorm", [rand(2, 4, 3), *STATISTICS, rand(3), rand(3)], {}, formula)
case("batchNorm", [rand(2, 2, 2, 3), *STATISTICS, None, None], {}, formula)
case("batchNorm", [rand(4, 3), *STATISTICS, rand(3), rand(3)], {}, infer, grad=False, name="PyTorch's own")
case("batchNorm", [rand(0, 2, 3), *STATISTICS, None, None], {}, formula, name="empty batch")


for shape, groups in [((2, 3, 4), 2), ((2, 2, 3, 6), 3), ((1, 2, 2, 2, 4), 1), ((3, 4), 2), ((0, 3, 4), 2)]:
    case("groupNorm", [rand(*shape), rand(shape[-1]), rand(shape[-1])], {"groups": groups},
         lambda x, w, b, groups=groups: last(F.group_norm(first(x), groups, w, b)), rtol=1e-4, atol=1e-5)
case("groupNorm", [rand(2, 3, 4), None, None], {"groups": 4, "eps": 0.01},
     lambda x, w, b: last(F.group_norm(first(x), 4, None, None, 0.01)), rtol=1e-4, atol=1e-5)

def instance(x, w, b, eps=1e-5):
    """Written out: the gradient of PyTorch's own is wrong for cotangents that are not contiguous."""
    axes = tuple(range(1, x.ndim - 1))
    y = (x - x.mean(axes, keepdim=True)) / (x.var(axes, correction=0, keepdim=True) + eps).sqrt()
    return y if w is None else y * w + b


for shape in [(2, 5, 3), (1, 3, 2, 9)]:
    case("instanceNorm", [rand(*shape), rand(shape[-1]), rand(shape[-1])], {}, instance, rtol=1e-4, atol=1e-5)
case("instanceNorm", [rand(2, 5, 3), None, None], {"eps": 0.1}, lambda x, w, b: instance(x, w, b, 0.1), rtol=1e-4, atol=1e-5)

for shape, axes in [((3, 5), 1), ((2, 3, 4), 2), ((2, 2, 37), 1), ((7,), 1), ((0, 4), 1)]:
    size = shape[-axes:]
    case("layerNorm", [rand(*shape), rand(*size), rand(*size)], {"axes": axes},
         lambda x, w, b, size=size: F.layer_norm(x, size, w, b), rtol=1e-4, atol=1e-5)
    case("rmsNorm", [rand(*shape), rand(*size)], {"axes": axes, "eps": 1e-6},
         lambda x, w, size=size: F.rms_norm(x, size, w, 1e-6), rtol=1e-4, atol=1e-5)
case("layerNorm", [rand(3, 5), None, None], {"eps": 0.1}, lambda x, w, b: F.layer_norm(x, (5,), eps=0.1), rtol=1e-4, atol=1e-5)
case("layerNorm", [rand(3, 5), rand(5), None], {}, lambda x, w, b: F.layer_norm(x, (5,), w), rtol=1e-4, atol=1e-5)
case("layerNorm", [rand(3, 8, low=990, high=1000), None, None], {}, lambda x, w, b: F.layer_norm(x, (8,)), dtypes=WIDE,
     name="far from zero", rtol=1e-3, atol=1e-3, differences=False, second=False)
case("rmsNorm", [rand(3, 5), None], {}, lambda x, w: F.rms_norm(x, (5,)), rtol=1e-4, atol=1e-5)


def normalized(x, w, b, groups, eps, whole):
    """[segments, rows, groups, channels of a group] in the middle."""
    segments = 1 if whole else x.shape[0]
    g = x.reshape(segments, -1, groups, x.shape[-1] // groups)
    mean, variance = g.mean((1, 3), keepdim=True), g.var((1, 3), correction=0, keepdim=True)
    y = ((g - mean) / (variance + eps).sqrt()).reshape(x.shape)
    return y * w + b, mean.reshape(segments, groups), variance.reshape(segments, groups)


def gradient(f, x, *parameters, grad):
    """First derivatives that can be differentiated again."""
    with torch.enable_grad():
        leaves = [t if t.requires_grad else t.detach().requires_grad_() for t in (x, *parameters)]
        return torch.autograd.grad(f(*leaves), leaves, grad, create_graph=True)


for whole, groups in [(False, 2), (True, 4)]:
    attrs = {"groups": groups, "eps": 1e-3, "wholeBatch": whole}
    f = lambda x, w, b, a=(groups, 1e-3, whole): normalized(x, w, b, *a)
    case("normalizeGroups", [rand(2, 3, 4), rand(4), rand(4)], attrs, f, dtypes=WIDE, rtol=1e-4, atol=1e-5)

    def groups_gradient(g, x, w, mean, variance, a=(groups, whole)):
        segments = 1 if a[1] else x.shape[0]
        shape = (segments, -1, a[0], x.shape[-1] // a[0])
        m, v = mean.reshape(segments, 1, a[0], 1), variance.reshape(segments, 1, a[0], 1)
        scale = (v + 1e-3).rsqrt()
        normal, wide, plain = (x.reshape(shape) - m) * scale, (g * w).reshape(shape), g.reshape(shape)
        inner = wide - wide.mean((1, 3), keepdim=True) - normal * (wide * normal).mean((1, 3), keepdim=True)
        return (scale * inner).reshape(x.shape), (plain * normal).sum((0, 1)).flatten(), plain.sum((0, 1)).flatten()

    statistics = (1 if whole else 2, groups)
    case("normalizeGroupsGradient", [rand(2, 3, 4), rand(2, 3, 4), rand(4), rand(*statistics), rand(*statistics, low=0.5)], attrs,
         groups_gradient, dtypes=WIDE, rtol=1e-4, atol=1e-5)

for centered in (True, False):

    # Written out, because PyTorch's own layer_norm has no third derivative.
    def normalize(x, w, b, centered=centered):
        x = x - x.mean(-1, keepdim=True) if centered else x
        return x / (x.square().mean(-1, keepdim=True) + 1e-3).sqrt() * w + b

    def rows_gradient(g, x, w, f=normalize):
        return gradient(f, x, w, torch.zeros_like(w), grad=g)

    case("normalizeRowsGradient", [rand(3, 5), rand(3, 5), rand(5)], {"axes": 1, "eps": 1e-3, "centered": centered}, rows_gradient,
         dtypes=WIDE, rtol=1e-4, atol=1e-5)

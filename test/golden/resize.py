"""Resizing, channels last."""

import torch
import torch.nn.functional as F
from cases import case, rand

MODES = {1: "linear", 2: "bilinear", 3: "trilinear"}


def resize_case(x, mode="nearest", name=None, **attrs):
    rank = len(x) - 2
    options = {"size": attrs.get("size"), "scale_factor": attrs.get("scale"), "mode": MODES[rank] if mode == "linear" else mode}
    if "alignCorners" in attrs:
        options["align_corners"] = attrs["alignCorners"]
    case("resize", [rand(*x)], {"mode": mode, **attrs},
         lambda x: F.interpolate(x.movedim(-1, 1), **options).movedim(1, -1), name=name)


resize_case((2, 3, 2), size=[5])
resize_case((1, 4, 3, 9), size=[7, 2])
resize_case((1, 3, 3, 2), scale=2)
resize_case((1, 2, 3, 2, 2), scale=[2, 1.5, 0.7])
resize_case((1, 7, 2), mode="linear", scale=1.7)
resize_case((1, 4, 3, 9), mode="bilinear", size=[7, 2])
resize_case((1, 4, 3, 2), mode="bilinear", size=[7, 5], alignCorners=True)
resize_case((1, 3, 5, 2), mode="linear", scale=[1.6, 0.5])
resize_case((1, 3, 3, 2), mode="bilinear", size=[1, 3], alignCorners=True)
resize_case((1, 2, 3, 2, 2), mode="trilinear", size=[3, 2, 3])
resize_case((0, 3, 3, 2), mode="bilinear", size=[4, 4], name="empty batch")

ATTRS = {"input": [3, 4], "output": [5, 3], "scale": [], "nearest": False, "alignCorners": False}


def resample(x):
    return F.interpolate(x.movedim(-1, 1), size=[5, 3], mode="bilinear").movedim(1, -1)


def gradient(g):
    x = torch.zeros(1, 3, 4, 2, dtype=g.dtype, requires_grad=True)
    with torch.enable_grad():
        return torch.autograd.grad(resample(x), x, g, create_graph=True)[0]


case("resample", [rand(1, 3, 4, 2)], ATTRS, resample)
case("resampleGradient", [rand(1, 5, 3, 2)], ATTRS, gradient)

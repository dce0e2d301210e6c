"""Writes test/golden/<family>.json from test/golden/<family>.py with PyTorch: all families, or those named.

Usage: python test/golden/make.py [family ...]

Tensors are stored as little-endian bytes in base64; the 16-bit floats as float32, bool as uint8, float64 as float32 where
that is exact enough for the case. Results of the 16-bit floats are computed in float32 and rounded once. Cotangents follow
a formula that the driver knows too.
"""

import base64
import importlib
import json
import pathlib
import sys

import numpy as np
import torch

import cases as table

here = pathlib.Path(__file__).parent
HALVES = (torch.float16, torch.bfloat16)
COARSE = 1e-5  # a tolerance beside which rounding to float32 is nothing


def cotangent(like, salt):
    """Multiples of 1/16 without a zero, exact in every dtype."""
    i = np.arange(like.numel())
    values = ((i * 7 + salt * 5 + 3) % 12 * 2 - 11) / 16
    return torch.tensor(values).to(like.dtype).reshape(like.shape)


def stored(t, rtol=None):
    """`rtol` is how exact the values must be; None: as they are."""
    if t is None:
        return None
    t = t.detach()
    dtype = str(t.dtype).removeprefix("torch.")
    narrow = t.dtype == torch.float64 and rtol is not None and rtol >= COARSE
    host = t.float() if t.dtype in HALVES or narrow else (t.to(torch.uint8) if t.dtype == torch.bool else t)
    data = base64.b64encode(np.ascontiguousarray(host.numpy(force=True)).tobytes()).decode()
    return {"dtype": dtype, "shape": list(t.shape), **({"as": "float32"} if narrow else {}), "data": data}


def build(given, dtype, salt):
    if isinstance(given, table.Given):
        return given.make(salt, dtype)
    if isinstance(given, list):
        return [build(g, dtype, salt + 100 * (i + 1)) for i, g in enumerate(given)]
    return given  # None or a number


def mapped(f, inputs):
    return [mapped(f, x) if isinstance(x, list) else (f(x) if isinstance(x, torch.Tensor) else x) for x in inputs]


def flat(inputs):
    return [t for x in inputs for t in (flat(x) if isinstance(x, list) else [x]) if isinstance(t, torch.Tensor)]


def tuple_of(result):
    return tuple(result) if isinstance(result, (tuple, list)) else (result,)


def forward(case, inputs, dtype):
    """Results in the dtypes that PyTorch gives; those of 16-bit floats rounded once."""
    if dtype not in ("float16", "bfloat16"):
        return tuple_of(case.torch(*inputs))
    half = getattr(torch, dtype)
    exact = tuple_of(case.torch(*mapped(lambda t: t.float() if t.dtype in HALVES else t, inputs)))
    try:
        dtypes = [t.dtype for t in tuple_of(case.torch(*inputs))]
    except (RuntimeError, NotImplementedError):  # PyTorch has no such kernel on the CPU
        dtypes = [half if t.dtype == torch.float32 else t.dtype for t in exact]
    return tuple(t.to(d) if t.is_floating_point() else t for t, d in zip(exact, dtypes))


def differentiate(case, inputs, second):
    """Golden gradients of sum(result * cotangent), in float32 for the 16-bit floats, and those of their sum."""
    wide = mapped(lambda t: t.detach().float() if t.dtype in HALVES else t.detach(), inputs)
    leaves = [t for t in flat(wide) if t.is_floating_point()]
    for t in leaves:
        t.requires_grad_()
    with torch.enable_grad():
        results = tuple_of(case.torch(*wide))
        through = [i for i, t in enumerate(results) if t.requires_grad]
        if not through:
            return {}
        seeds = [cotangent(results[i], i) for i in through]
        first = torch.autograd.grad([results[i] for i in through], leaves, seeds, create_graph=second, allow_unused=True)
        out = {"through": through, "grads": [stored(g, case.rtol) for g in first]}
        if second:
            used = [(g, cotangent(g, 50 + i)) for i, g in enumerate(first) if g is not None and g.requires_grad]
            again = [None] * len(leaves)
            if used:
                again = torch.autograd.grad([g for g, _ in used], leaves, [c for _, c in used], allow_unused=True)
            out["seconds"] = [stored(g, case.rtol) for g in again]
    return out


def encode(x, rtol=None):
    if isinstance(x, list):
        return {"list": [encode(v, rtol) for v in x]}
    if isinstance(x, float) and not np.isfinite(x):  # which JSON cannot say
        return {"number": str(x).replace("inf", "Infinity").replace("nan", "NaN")}
    if not isinstance(x, torch.Tensor):
        return x
    return stored(x, rtol if torch.equal(x, x.float().to(x.dtype)) else None)


def smooth(given):
    return all(smooth(g) if isinstance(g, list) else not isinstance(g, table.Given) or g.smooth for g in given)


def run(case, dtype):
    inputs = [build(g, dtype, 7 * i) for i, g in enumerate(case.inputs)]
    out = {"op": case.op, "name": case.name, "dtype": dtype, "inputs": [encode(x, case.rtol) for x in inputs]}
    if case.attrs:
        out["attrs"] = {k: v if isinstance(v, list) else encode(v) for k, v in case.attrs.items()}
    out["outputs"] = [stored(t, case.rtol) for t in forward(case, inputs, dtype)]
    if case.grad and dtype in table.FLOATS:
        out |= differentiate(case, inputs, case.second and dtype in ("float32", "float64"))
        if "grads" in out and dtype == "float64" and case.differences and smooth(case.inputs):
            out["differences"] = True
    for key in ("rtol", "atol"):
        if getattr(case, key) is not None:
            out[key] = getattr(case, key)
    if not case.views:
        out["views"] = False
    return out


def make(family):
    table.cases.clear()
    importlib.import_module(family)
    lines = []
    for case in table.cases:
        seen = set()
        for dtype in case.dtypes:
            try:
                line = json.dumps(run(case, dtype), separators=(",", ":"))
            except Exception as error:
                raise RuntimeError(f"{family}: {case.op}, case {case.name}, {dtype}: {error}") from error
            lines += [line] if line not in seen else []
            seen.add(line)
    (here / f"{family}.json").write_text("[\n" + ",\n".join(lines) + "\n]\n")
    print(f"{family}: {len(lines)} cases")


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.manual_seed(0)
    named = [pathlib.Path(a).stem for a in sys.argv[1:]]
    for family in named or sorted(p.stem for p in here.glob("*.py") if p.stem not in ("cases", "make")):
        make(family)

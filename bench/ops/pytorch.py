"""PyTorch's side of the op benchmarks. The cases come as JSON, by the first argument; see cases.mjs.

BENCH_DEVICE says where they are computed; with BENCH_REHEARSAL the CPU takes that device's place.
"""

import json
import math
import os
import sys
import time

import torch
from torch import nn
from torch.nn import functional as F

torch.set_num_threads(int(os.environ["BENCH_THREADS"]))
DEVICE = torch.device("cpu" if os.environ.get("BENCH_REHEARSAL") else os.environ.get("BENCH_DEVICE", "cpu"))
CUDA = DEVICE.type == "cuda"
torch.backends.cudnn.benchmark = CUDA
torch.set_default_device(DEVICE)


def values(spec, shape, number):
    spec = spec if isinstance(spec, dict) else {}
    index = torch.arange(math.prod(shape), dtype=torch.float64)
    unit = (index * 389201 + number * 104729) % 1000003 / 1000003
    if "below" in spec:
        return (unit * spec["below"]).long().reshape(shape)
    low, high = spec.get("low", -1), spec.get("high", 1)
    return (unit * (high - low) + low).float().reshape(shape)


def made(spec, number):
    if isinstance(spec, dict) and ("images" in spec or "kernels" in spec):
        shape = spec.get("images") or spec["kernels"]
        return values(spec, shape, number).permute(0, 3, 1, 2)
    made = values(spec, spec["shape"] if isinstance(spec, dict) else spec, number)
    if isinstance(spec, dict) and "dtype" in spec:
        made = made.to(getattr(torch, spec["dtype"]))
    tile = spec.get("tile", 1) if isinstance(spec, dict) else 1
    return made.repeat(tile, *[1] * (made.dim() - 1)) if tile > 1 else made


def parameters(shapes):
    made = [nn.Parameter(torch.rand(shape)) for shape in shapes]
    for p in made:
        p.grad = torch.rand(p.shape)
    return made


def allow(*kernels):
    """Which of scaled_dot_product_attention's kernels may be used, from now on."""
    for kernel, enable in ATTENTION.items():
        enable(kernel in kernels)


ATTENTION = {"flash": torch.backends.cuda.enable_flash_sdp, "cudnn": torch.backends.cuda.enable_cudnn_sdp,
             "efficient": torch.backends.cuda.enable_mem_efficient_sdp, "math": torch.backends.cuda.enable_math_sdp}
CHOICES = {
    "attention": {name: lambda name=name: allow(name) for name in ("flash", "cudnn", "efficient")},
    "library": {name: lambda name=name: torch.backends.cuda.preferred_blas_library(name) for name in ("cublas", "cublaslt")},
}


def fastest(choices, run):
    """Takes the choice with which `run` is fastest, of those that work, and gives its name."""
    seconds = {}
    for name, choose in choices.items():
        try:
            choose()
            run(3)
            start = time.perf_counter()
            run(10)
            seconds[name] = time.perf_counter() - start
        except RuntimeError as error:  # no such kernel for these sizes
            print(f"{name}: {error}", file=sys.stderr)
    best = min(seconds, key=seconds.get)
    choices[best]()
    return best


def outputs(result):
    return result if isinstance(result, tuple) else (result,)


def prepare(case, backward):
    names = {"torch": torch, "nn": nn, "F": F, "parameters": parameters}
    given = {name: made(spec, i + 1) for i, (name, spec) in enumerate(case["inputs"].items())}
    names.update(given)
    names["prepared"] = eval(case.get("prepareTorch", "None"), names)
    op = eval(f"lambda: {case['torch']}", names)
    allow(*ATTENTION)
    leaves = [x for x in given.values() if x.is_floating_point()]
    if backward:
        for x in leaves:
            x.requires_grad_()
    first = outputs(op())[0]
    check = first.detach().float().abs().mean().item() if isinstance(first, torch.Tensor) else None
    cotangent = None
    if backward:
        # The same numbers at the same places: images come in the order of memory.
        last = first.dim() == 4 and first.is_contiguous(memory_format=torch.channels_last) and not first.is_contiguous()
        shape = first.permute(0, 2, 3, 1).shape if last else first.shape
        cotangent = values([], shape, 9)
        cotangent = (cotangent.permute(0, 3, 1, 2) if last else cotangent).to(first.dtype)

    def run(iterations):
        for _ in range(iterations):
            y = op()
            if backward:
                torch.autograd.grad(outputs(y)[0], leaves, cotangent)
        if CUDA:
            torch.cuda.synchronize()
        return check

    return run, fastest(CHOICES[case["fastest"]], run) if CUDA and "fastest" in case else None


def main():
    cases = {}
    for case in json.loads(sys.argv[1]):
        cases[case["name"]] = (case, False)
        cases[case["name"] + ", and backward"] = (case, True)
    about = {"name": "PyTorch eager", "version": torch.__version__, "threads": torch.get_num_threads()}
    print(json.dumps({"ready": about}), flush=True)
    name = run = choice = None
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if request["workload"] != name:
                run = None
                name, (run, choice) = request["workload"], prepare(*cases[request["workload"]])
            start = time.perf_counter()
            check = run(request["iterations"])
            print(json.dumps({"seconds": time.perf_counter() - start, "check": check, "choice": choice}), flush=True)
        except Exception as error:  # of one case; the others go on
            print(json.dumps({"error": str(error)}), flush=True)


main()

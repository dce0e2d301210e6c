"""The same ops as run.cjs by PyTorch, timed the same way."""
import json
import time

import torch

n, calls, side, rows = 1 << 26, 50, 8192, 16384
results = {}


def timed(call, calls, runs=7):
    took = []
    for r in range(runs + 1):
        begin = time.perf_counter()
        for _ in range(calls):
            call()
        torch.cuda.synchronize()
        if r > 0:
            took.append((time.perf_counter() - begin) / calls)
    took.sort()
    return {"least": took[0], "median": took[runs // 2]}


def put(name, bytes_moved, flops, call):
    t = timed(call, calls)
    results[name] = {**t, "gigabytesPerSecond": bytes_moved / t["median"] / 1e9, "teraflops": flops / t["median"] / 1e12}


for dtype in (torch.float32, torch.bfloat16):
    size, label = dtype.itemsize, str(dtype).split(".")[1]
    a, b = (torch.randn(n, device="cuda").to(dtype) for _ in range(2))
    put(f"copy {label}", 2 * n * size, 0, lambda: a.clone())
    put(f"add {label}", 3 * n * size, 0, lambda: a + b)
    put(f"gelu {label}", 2 * n * size, 0, lambda: torch.nn.functional.gelu(a))
    put(f"sum {label}", n * size, 0, lambda: a.sum())
    wide = a.reshape(rows, -1)
    put(f"sum rows {label}", n * size, 0, lambda: wide.sum(1))
    put(f"sum columns {label}", n * size, 0, lambda: wide.sum(0))
    put(f"softmax {label}", 2 * n * size, 0, lambda: wide.softmax(-1))
    put(f"transpose {label}", 2 * n * size, 0, lambda: wide.t().contiguous())
    left, right = (torch.randn(side, side, device="cuda").to(dtype) for _ in range(2))
    put(f"matmul {side} {label}", 0, 2 * side**3, lambda: left @ right)
tiny = torch.tensor([1.0, 2, 3, 4], device="cuda")
results["add of 4 elements"] = timed(lambda: tiny + 1, 2000)
print(json.dumps({"device": torch.cuda.get_device_name(), "torch": torch.__version__, "results": results}, indent=2))

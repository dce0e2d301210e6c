"""PyTorch's side of the benchmarks; see worker.mjs for the protocol. With BENCH_COMPILE networks go through torch.compile.

BENCH_DEVICE says where they are computed; with BENCH_REHEARSAL the CPU takes that device's place.
"""

import os
import sys
from contextlib import nullcontext
from functools import partial

import torch
from safetensors.torch import load_file
from torch._inductor import config as inductor_config

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from models import NETWORKS  # noqa: E402
from models.inputs import floats  # noqa: E402
from peers.worker import serve  # noqa: E402

COMPILE = bool(os.environ.get("BENCH_COMPILE"))
DEVICE = torch.device("cpu" if os.environ.get("BENCH_REHEARSAL") else os.environ.get("BENCH_DEVICE", "cpu"))
CUDA = DEVICE.type == "cuda"
torch.backends.cudnn.benchmark = CUDA


def synchronize():
    if CUDA:
        torch.cuda.synchronize()


def compiled(function):
    return torch.compile(function) if COMPILE else function


def training(network, model, options, mixed):
    optimizer = network.optimizer(model.parameters())
    micro = options.get("micro", 1)
    examples = [x.to(DEVICE).chunk(micro) for x in network.batch(**options)]
    loss_of = compiled(lambda *examples: network.loss(model, *examples))

    steps = 0

    def run(iterations):
        nonlocal steps
        first = []  # the losses of the first two steps of all; later ones are not read
        for _ in range(iterations):
            total = 0
            for some in zip(*examples):
                with mixed():
                    loss = loss_of(*some)
                if micro > 1:
                    loss = loss / micro
                loss.backward()
                total = total + loss.detach()
            optimizer.step()
            optimizer.zero_grad()
            steps += 1
            if steps <= 2:
                first.append(total.item())
        synchronize()
        return first

    return run


def inference(network, model, options, mixed):
    inputs = [x.to(DEVICE) for x in network.inputs(**options)]
    if COMPILE:
        inductor_config.freezing = True  # weights become constants, packed once
    forward = compiled(model.eval())

    def run(iterations):
        with torch.no_grad(), mixed():
            first = forward(*inputs)
            for _ in range(iterations - 1):
                forward(*inputs)
        return first.flatten()[:8].tolist()

    return run


def prepare_network(network, train, weights, options, autocast=None):
    network = NETWORKS[network]
    model = network.model(**options).to(DEVICE)
    model.load_state_dict(load_file(weights))
    mixed = partial(torch.autocast, DEVICE.type, dtype=getattr(torch, autocast)) if autocast else nullcontext
    return (training if train else inference)(network, model, options, mixed)


def product(m, k, n):
    a, b = floats((m, k), 1).to(DEVICE), floats((k, n), 2).to(DEVICE)

    def run(iterations):
        for _ in range(iterations):
            a @ b
        synchronize()

    return run


def add4():
    a, b = torch.tensor([1.0, 2, 3, 4], device=DEVICE), torch.tensor([1.0, 2, 3, 4], device=DEVICE)

    def run(iterations):
        for _ in range(iterations):
            a + b
        synchronize()

    return run


def mm64():
    a, b = (floats((64, 64), number).to(DEVICE).requires_grad_() for number in (1, 2))

    def run(iterations):
        for _ in range(iterations):
            a.grad = b.grad = None
            (a @ b).relu().sum().backward()
        synchronize()

    return run


OPERATIONS = {"add4": add4, "mm64": mm64, "matmul1024": lambda: product(1024, 1024, 1024),
              "matmul2048": lambda: product(2048, 768, 3072)}


KEYS = ("network", "train", "weights", "options", "autocast")


def prepare(name, options):
    if "network" in options:
        return prepare_network(**{key: options[key] for key in KEYS if key in options})
    return None if COMPILE else OPERATIONS[name]()


torch.set_num_threads(int(os.environ["BENCH_THREADS"]))
about = {"name": "PyTorch", "version": torch.__version__, "threads": torch.get_num_threads()}
if CUDA:
    serve(about, prepare, (torch.cuda.max_memory_allocated, torch.cuda.reset_peak_memory_stats))
else:
    serve(about, prepare)

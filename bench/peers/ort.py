"""onnxruntime's side of the benchmarks, inference alone; see worker.mjs for the protocol. BENCH_INT8 takes the quantised file."""

import os
import sys

import numpy
import onnxruntime

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from peers.worker import serve  # noqa: E402

THREADS = int(os.environ["BENCH_THREADS"])


def prepare(name, options):
    files = options.get("onnx", {})
    file = files.get("int8" if os.environ.get("BENCH_INT8") else "float32")
    if file is None:
        return None
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = THREADS
    session = onnxruntime.InferenceSession(file, settings, providers=["CPUExecutionProvider"])
    with numpy.load(files["inputs"]) as saved:
        inputs = {given.name: saved[f"arr_{i}"] for i, given in enumerate(session.get_inputs())}

    def run(iterations):
        first = session.run(None, inputs)[0]
        for _ in range(iterations - 1):
            session.run(None, inputs)
        return first.flatten()[:8].tolist()

    return run


serve({"name": "onnxruntime", "version": onnxruntime.__version__, "threads": THREADS}, prepare)

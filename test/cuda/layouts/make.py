"""Writes test/cuda/layouts/layouts.json: how tensor cores' instructions place elements, and how matrices in shared
memory are described to them, as NVIDIA's CuTe says it. The emulator and the kernels' helpers are held against it.

Usage: python test/cuda/layouts/make.py, with the package nvidia-cutlass (4.2.0), a C++ compiler and CUDA's headers.
"""

import importlib.util
import os
import pathlib
import subprocess
import tempfile

here = pathlib.Path(__file__).parent
cutlass = pathlib.Path(importlib.util.find_spec("cutlass_library").origin).parent / "source/include"
cuda = pathlib.Path(os.environ.get("CUDA_HOME", "/usr/local/cuda")) / "include"

with tempfile.TemporaryDirectory() as folder:
    program = f"{folder}/layouts"
    headers = [word for path in (cutlass, cuda, cuda / "cccl") for word in ("-isystem", str(path))]
    subprocess.run([os.environ.get("CXX", "c++"), "-std=c++17", "-O1", *headers, here / "layouts.cpp", "-o", program], check=True)
    (here / "layouts.json").write_text(subprocess.run([program], check=True, capture_output=True, text=True).stdout)

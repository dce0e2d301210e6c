"""onnx_files.py FOLDER WORKLOAD: a workload's network for onnxruntime, its inputs, and, with "int8", which names the faster type of
weights there, its quantised form."""

import json
import os
import sys

import numpy
import onnx
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from safetensors.torch import load_file

from models import NETWORKS

folder, workload = sys.argv[1], json.loads(sys.argv[2])
network = NETWORKS[workload["network"]]
model = network.model(**workload["options"])
model.load_state_dict(load_file(workload["weights"]))
inputs = network.inputs(**workload["options"])
files = {kind: os.path.join(folder, f"{workload['name']}{end}")
         for kind, end in [("float32", ".onnx"), ("int8", ".int8.onnx"), ("inputs", ".npz")]}
torch.onnx.export(model.eval(), tuple(inputs), files["float32"], dynamo=True, verbose=False)
numpy.savez(files["inputs"], *[x.numpy() for x in inputs])
if workload.get("int8"):
    graph = onnx.load(files["float32"])
    del graph.graph.value_info[:]  # shapes that the quantiser finds contradictory once it has transposed weights
    quantize_dynamic(graph, files["int8"], per_channel=True, weight_type=QuantType[workload["int8"]])
else:
    del files["int8"]
print(json.dumps(files))

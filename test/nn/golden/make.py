"""Writes test/nn/golden/layers.json: PyTorch's layers with their weights, and what they give for some inputs.

Usage: python test/nn/golden/make.py

Inputs, outputs and their gradients are stored channels last; parameters and their gradients as in PyTorch.
"""

import json
import pathlib
import sys

import torch
from torch import nn

here = pathlib.Path(__file__).parent
sys.path.insert(0, str(here.parent.parent / "golden"))
from make import cotangent, stored  # noqa: E402

lines = []


def last(t, images):
    return t.movedim(1, -1).contiguous() if images and t.ndim > 2 else t


def first(t, images):
    return t.movedim(-1, 1).contiguous() if images and t.ndim > 2 else t


def case(name, module, *shapes, images=False, inputs=None, run=None, steps=1, train=False):
    """Runs `module` on random inputs of `shapes` (channels last), `steps` times, then once in evaluation mode."""
    generator = torch.Generator().manual_seed(len(lines))
    given = inputs or [[torch.randn(s, generator=generator) for s in shapes] for _ in range(steps)]
    run = run or (lambda m, *xs: m(*xs))
    module.train(train)
    out = {"name": name, "state": {k: stored(v.clone()) for k, v in module.state_dict().items()}, "train": train, "steps": []}
    for xs in given:
        leaves = [x.clone().requires_grad_() if x.is_floating_point() else x for x in xs]
        module.zero_grad()
        y = last(run(module, *[first(x, images) for x in leaves]), images)
        (y * cotangent(y, 0)).sum().backward()
        out["steps"].append({
            "inputs": [stored(x) for x in xs],
            "output": stored(y),
            "inputGrads": [stored(x.grad) if x.is_floating_point() and x.grad is not None else None for x in leaves],
            "grads": {k: stored(p.grad) for k, p in module.named_parameters() if p.grad is not None},
        })
    if train:
        out["after"] = {k: stored(v) for k, v in module.state_dict().items()}
        module.eval()
        with torch.no_grad():
            out["evaluated"] = stored(last(run(module, *[first(x, images) for x in given[-1]]), images))
    lines.append(json.dumps(out, separators=(",", ":")))


def trained(module):
    """Weights and biases that are not all ones and zeros."""
    with torch.no_grad():
        for p in module.parameters():
            if p.ndim == 1:
                p.add_(torch.randn(p.shape, generator=torch.Generator().manual_seed(p.numel())) * 0.3)
    return module


torch.manual_seed(0)
torch.set_num_threads(1)
case("Linear", nn.Linear(5, 4), (3, 5))
case("Linear without bias", nn.Linear(3, 2, bias=False), (2, 4, 3))
case("Bilinear", nn.Bilinear(3, 4, 2), (5, 3), (5, 4))
case("Conv1d", nn.Conv1d(4, 6, 3, stride=2, padding=1, groups=2), (2, 7, 4), images=True)
case("Conv2d", nn.Conv2d(3, 4, (3, 2), stride=(1, 2), padding=(1, 0), dilation=(2, 1)), (2, 6, 7, 3), images=True)
case("Conv2d same", nn.Conv2d(2, 3, 3, padding="same", bias=False), (1, 4, 5, 2), images=True)
case("Conv2d depthwise", nn.Conv2d(4, 4, 3, padding=1, groups=4), (1, 5, 5, 4), images=True)
case("Conv3d", nn.Conv3d(2, 3, 2), (1, 3, 4, 3, 2), images=True)
case("ConvTranspose1d", nn.ConvTranspose1d(3, 2, 3, stride=2, padding=1, output_padding=1), (2, 4, 3), images=True)
case("ConvTranspose2d", nn.ConvTranspose2d(4, 6, 3, stride=2, groups=2), (1, 3, 3, 4), images=True)
case("ConvTranspose3d", nn.ConvTranspose3d(2, 3, 2, stride=2), (1, 2, 2, 2, 2), images=True)
case("MaxPool1d", nn.MaxPool1d(3, 2, 1), (1, 7, 2), images=True)
case("MaxPool2d", nn.MaxPool2d(2), (1, 5, 4, 2), images=True)
case("MaxPool3d", nn.MaxPool3d(2, ceil_mode=True), (1, 3, 4, 4, 2), images=True)
case("AvgPool1d", nn.AvgPool1d(2), (1, 6, 2), images=True)
case("AvgPool2d", nn.AvgPool2d(3, 2, 1, count_include_pad=False), (1, 5, 6, 2), images=True)
case("AvgPool3d", nn.AvgPool3d(2), (1, 4, 4, 2, 1), images=True)
case("AdaptiveAvgPool2d", nn.AdaptiveAvgPool2d((2, 3)), (1, 5, 7, 2), images=True)
case("AdaptiveMaxPool2d", nn.AdaptiveMaxPool2d(2), (1, 5, 7, 2), images=True)
case("BatchNorm1d", trained(nn.BatchNorm1d(4)), (6, 4), steps=4, train=True)
case("BatchNorm1d of sequences", trained(nn.BatchNorm1d(3, momentum=None)), (2, 5, 3), images=True, steps=3, train=True)
case("BatchNorm2d", trained(nn.BatchNorm2d(3, momentum=0.3, eps=1e-3)), (2, 3, 4, 3), images=True, steps=3, train=True)
case("BatchNorm3d", trained(nn.BatchNorm3d(2)), (2, 2, 3, 2, 2), images=True, steps=2, train=True)
case("BatchNorm2d evaluated", trained(nn.BatchNorm2d(3)), (2, 3, 4, 3), images=True)
case("BatchNorm2d plain", nn.BatchNorm2d(3, affine=False), (2, 3, 4, 3), images=True, steps=2, train=True)
case("BatchNorm2d untracked", nn.BatchNorm2d(3, track_running_stats=False), (2, 3, 4, 3), images=True, steps=1, train=True)
case("LayerNorm", trained(nn.LayerNorm(6)), (2, 3, 6))
case("LayerNorm of two axes", nn.LayerNorm((3, 4), eps=1e-3, bias=False), (2, 3, 4))
case("RMSNorm", trained(nn.RMSNorm(6, eps=1e-6)), (2, 3, 6))
case("GroupNorm", trained(nn.GroupNorm(2, 6)), (2, 3, 4, 6), images=True)
case("InstanceNorm1d", nn.InstanceNorm1d(3), (2, 5, 3), images=True, train=True)
case("InstanceNorm2d", trained(nn.InstanceNorm2d(3, affine=True)), (2, 3, 4, 3), images=True, train=True)
case("InstanceNorm2d tracked", nn.InstanceNorm2d(3, track_running_stats=True), (2, 3, 4, 3), images=True, steps=3, train=True)
indices = [[torch.tensor([[1, 0, 4], [1, 2, 0]])]]
case("Embedding", nn.Embedding(5, 3), inputs=indices)
case("Embedding padded", nn.Embedding(5, 3, padding_idx=0), inputs=indices)

wide = [[torch.tensor([[-4.0, -3, -1, -0.5], [0.25, 1, 3, 7]])]]
for name, module in {
    "ReLU": nn.ReLU(), "ReLU6": nn.ReLU6(), "LeakyReLU": nn.LeakyReLU(0.2), "ELU": nn.ELU(0.7), "CELU": nn.CELU(0.7),
    "SELU": nn.SELU(), "GELU": nn.GELU(), "GELU tanh": nn.GELU(approximate="tanh"), "SiLU": nn.SiLU(), "Mish": nn.Mish(),
    "Hardswish": nn.Hardswish(), "Hardsigmoid": nn.Hardsigmoid(), "Hardtanh": nn.Hardtanh(-2, 0.5),
    "Softplus": nn.Softplus(2, 5), "Softsign": nn.Softsign(), "Sigmoid": nn.Sigmoid(), "LogSigmoid": nn.LogSigmoid(),
    "Tanh": nn.Tanh(), "Softmax": nn.Softmax(-1), "LogSoftmax": nn.LogSoftmax(0), "GLU": nn.GLU(), "PReLU": nn.PReLU(),
}.items():
    case(name, module, inputs=wide)
case("PReLU of channels", nn.PReLU(3, 0.1), (2, 4, 3), images=True)

attention = {"size": 8, "heads": 2}
case("MultiHeadAttention", trained(nn.MultiheadAttention(8, 2, batch_first=True)), (2, 5, 8),
     run=lambda m, x: m(x, x, x, need_weights=False)[0])
case("MultiHeadAttention causal", trained(nn.MultiheadAttention(8, 2, batch_first=True)), (2, 4, 8),
     run=lambda m, x: m(x, x, x, need_weights=False, attn_mask=torch.triu(torch.ones(4, 4), 1).bool())[0])
case("MultiHeadAttention across", nn.MultiheadAttention(8, 4, batch_first=True, bias=False), (2, 3, 8), (2, 5, 8), (2, 5, 8),
     run=lambda m, q, k, v: m(q, k, v, need_weights=False)[0])
padding = torch.tensor([[True, True, True, False], [True, True, False, False]])
case("MultiHeadAttention padded", trained(nn.MultiheadAttention(8, 2, batch_first=True)), (2, 4, 8),
     run=lambda m, x: m(x, x, x, need_weights=False, key_padding_mask=~padding)[0])
layer = dict(d_model=8, nhead=2, dim_feedforward=12, dropout=0.0, batch_first=True)
case("TransformerEncoderLayer", trained(nn.TransformerEncoderLayer(**layer)), (2, 5, 8), train=True)
case("TransformerEncoderLayer norm first", trained(nn.TransformerEncoderLayer(**layer, activation="gelu", norm_first=True)),
     (2, 5, 8), train=True)
case("TransformerEncoder", trained(nn.TransformerEncoder(nn.TransformerEncoderLayer(**layer), 2, nn.LayerNorm(8),
     enable_nested_tensor=False)), (2, 4, 8), train=True)
case("Upsample nearest", nn.Upsample(scale_factor=2), (1, 3, 4, 2), images=True)
case("Upsample bilinear", nn.Upsample(size=(5, 7), mode="bilinear"), (1, 3, 4, 2), images=True)
case("ZeroPad2d", nn.ZeroPad2d((1, 2, 3, 0)), (1, 2, 3, 1), images=True)
case("ReflectionPad2d", nn.ReflectionPad2d(1), (1, 3, 3, 1), images=True)
case("ReplicationPad2d", nn.ReplicationPad2d(2), (1, 2, 3, 1), images=True)
torch.manual_seed(1)
case("Sequential", nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(16, 3)),
     (2, 6, 6, 1), images=True)


def flat(y, state):
    """Outputs and states in one row."""
    states = state if isinstance(state, tuple) else (state,)
    return torch.cat([t.flatten() for t in (y, *states)])


def recurrent(name, module, *shapes):
    run = (lambda m, x, h, c: flat(*m(x, (h, c)))) if len(shapes) == 3 else lambda m, *xs: flat(*m(*xs))
    case(name, module, *shapes, run=run)


deep = {"num_layers": 2, "bidirectional": True, "batch_first": True}
recurrent("LSTM", nn.LSTM(4, 3, **deep), (2, 5, 4), (4, 2, 3), (4, 2, 3))
recurrent("GRU", nn.GRU(4, 3, **deep), (2, 5, 4), (4, 2, 3))
recurrent("RNN", nn.RNN(4, 3, **deep), (2, 5, 4), (4, 2, 3))
recurrent("RNN relu", nn.RNN(4, 3, 3, "relu", bias=False, batch_first=True), (2, 5, 4))
recurrent("LSTM from zeros", nn.LSTM(4, 3, batch_first=True), (2, 5, 4))
case("LSTMCell", nn.LSTMCell(4, 3), (2, 4), (2, 3), (2, 3), run=lambda m, x, h, c: torch.cat(m(x, (h, c))))
case("GRUCell", nn.GRUCell(4, 3), (2, 4), (2, 3))
case("RNNCell", nn.RNNCell(4, 3, nonlinearity="relu"), (2, 4))

(here / "layers.json").write_text("[\n" + ",\n".join(lines) + "\n]\n")
print(f"{len(lines)} cases")

import torch
import torch.nn.functional as F
from cases import FLOATS, INTS, case, rand, values

inf, nan = float("inf"), float("nan")
KINKS = [0.0, -0.0, 1.0, -1.0, 3.0, -3.0, 6.0, -6.0]
EDGES = [1e-30, 20.0, -20.0, 50.0, -50.0, 100.0, -100.0, 1e37, -1e37, inf, nan]
PLAIN = [
    ("relu", F.relu), ("relu6", F.relu6), ("silu", F.silu), ("mish", F.mish), ("hardSwish", F.hardswish), ("hardSigmoid", F.hardsigmoid),
    ("softsign", F.softsign), ("logSigmoid", F.logsigmoid), ("tanhShrink", F.tanhshrink), ("selu", F.selu), ("leakyRelu", F.leaky_relu),
    ("elu", F.elu), ("celu", F.celu), ("gelu", F.gelu), ("hardTanh", F.hardtanh), ("softplus", F.softplus),
]
for name, f in PLAIN:
    case(name, [rand(3, 7, low=-4, high=4)], torch=f, second=name != "hardSigmoid", atol=1e-6)
    case(name, [values(KINKS)], torch=f, dtypes=("float32", "float64"), second=False, atol=1e-6)
    case(name, [values(EDGES)], torch=f, dtypes=("float32", "float64"), grad=False)
    case(name, [rand(0, 2)], torch=f, second=False, dtypes=("float32",))
case("relu", [values([0, 3, 100])], torch=torch.relu, dtypes=INTS)
case("gelu", [rand(3, 7, low=-4, high=4)], {"approximate": "tanh"}, lambda x: F.gelu(x, approximate="tanh"), atol=1e-6)
case("gelu", [values(KINKS)], {"approximate": "tanh"}, lambda x: F.gelu(x, approximate="tanh"), dtypes=("float32", "float64"), second=False, atol=1e-6)
case("leakyRelu", [rand(3, 4)], {"slope": 0.2}, lambda x: F.leaky_relu(x, 0.2))
case("elu", [rand(3, 4)], {"alpha": 0.7}, lambda x: F.elu(x, 0.7))
case("celu", [rand(3, 4)], {"alpha": 1.7}, lambda x: F.celu(x, 1.7), rtol=1e-7)
case("softplus", [rand(3, 4)], {"beta": 2, "threshold": 1.5}, lambda x: F.softplus(x, 2, 1.5), differences=False)
case("hardTanh", [rand(3, 4)], {"min": -0.5, "max": 1.5}, lambda x: F.hardtanh(x, -0.5, 1.5))
case("threshold", [rand(3, 4)], {"limit": 0.1, "value": 20}, lambda x: F.threshold(x, 0.1, 20))
case("prelu", [rand(2, 3, 4), rand(4)], torch=lambda x, w: torch.where(x > 0, x, x * w))
case("prelu", [rand(2, 3, 4), rand(1)], torch=F.prelu)

case("glu", [rand(3, 6)], torch=F.glu)
case("glu", [rand(4, 3)], {"axis": 0}, lambda x: F.glu(x, 0))
for name, f in [("reglu", F.relu), ("geglu", F.gelu), ("swiglu", F.silu)]:
    case(name, [rand(3, 6)], torch=lambda x, f=f: f(x[:, :3]) * x[:, 3:], atol=4e-3)
    case(name, [rand(4, 3)], {"axis": 0}, lambda x, f=f: f(x[:2]) * x[2:], dtypes=("float32", "float64"))

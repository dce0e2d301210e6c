import torch as t
import torch.nn.functional as F
from cases import case, ints, rand, values

W = values([0.5, 1.0, 2.0, 0.25])
REDUCTIONS = ("mean", "sum", "none")


def classes_second(x):
    return x.movedim(-1, 1) if x.ndim > 2 else x


def ce(x, y, w=None, **options):
    y = y.long() if not y.is_floating_point() else classes_second(y)
    return F.cross_entropy(classes_second(x), y, w, **options)


for r in REDUCTIONS:
    for smoothing in (0, 0.1):
        torch_options = {"reduction": r, "label_smoothing": smoothing}
        attrs = {"reduction": r, "labelSmoothing": smoothing}
        small = dict(dtypes=("float32", "float64"))
        case("crossEntropy", [rand(5, 4), ints(5, high=4)], attrs, lambda x, y, o=torch_options: ce(x, y, **o), **({} if r == "mean" else small))
        case("crossEntropy", [rand(5, 4), values([0, 3, -100, 1, -100], "int64"), W], attrs, lambda x, y, w, o=torch_options: ce(x, y, w.detach(), **o), grad=False, **small)
        case("crossEntropy", [rand(5, 4), values([0, 3, -100, 1, -100], "int32")], attrs, lambda x, y, o=torch_options: ce(x, y, **o), **small)
        case("crossEntropy", [rand(2, 3, 4), ints(2, 3, high=4, dtype="int32")], {**attrs, "ignoreIndex": 2}, lambda x, y, o=torch_options: ce(x, y, ignore_index=2, **o), **small)
        case("crossEntropy", [rand(3, 4), rand(3, 4, low=0, high=1)], attrs, lambda x, y, o=torch_options: ce(x, y, **o), **small)
        case("crossEntropy", [rand(2, 3, 4), rand(2, 3, 4, low=0, high=1)], attrs, lambda x, y, o=torch_options: ce(x, y, **o), **small)
case("crossEntropy", [values([[1000.0, -1000, 0], [1e30, 0, 0]]), values([1, 0], "int64")], {"reduction": "none"}, lambda x, y: ce(x, y, reduction="none"), dtypes=("float32", "float64"), second=False)
case("crossEntropy", [values([[1.0, float("nan"), 0], [1, 2, 3]]), values([1, 0], "int64")], {"reduction": "none"}, lambda x, y: ce(x, y, reduction="none"), grad=False)
case("crossEntropy", [rand(2, 3), values([-100, -100], "int64")], {}, lambda x, y: ce(x, y), dtypes=("float32",), grad=False)
case("crossEntropyParts", [rand(3, 4), ints(3, high=4)], {}, lambda x, y: (F.cross_entropy(x, y), t.logsumexp(x, 1), t.ones(3, dtype=x.dtype), t.tensor(3, dtype=x.dtype)), dtypes=("float32", "float64"), grad=False)
case("crossEntropyGrad", [rand(3, 4), ints(3, high=4), None, rand(3, seed=8), rand(3, low=1), values(2.0), values(3.0)], {},
     lambda x, y, w, l, r, d, g: (g / d) * (r[:, None] * t.exp(x - l[:, None]) - F.one_hot(y, 4)), dtypes=("float32", "float64"), grad=False)

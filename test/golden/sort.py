import torch as t
from cases import FLOATS, INTS, bools, case, ints, rand, values

nan, inf = float("nan"), float("inf")


def both(f):
    return lambda x: tuple(f(x))


TIES = values([[1, 3, 3, 2], [0, 0, 0, 0], [5, 1, 2, 1]])
ODD = values([[1, nan, -inf, 2], [inf, nan, nan, -0.0], [0.0, -0.0, 0.0, -1.0]])
for descending in (False, True):
    def sort(axis, d=descending):
        return both(lambda x: t.sort(x, dim=axis, descending=d, stable=True))

    for axis in (-1, 0, 1):
        case("sort", [rand(3, 4, 5)], {"axis": axis, "descending": descending}, sort(axis))
    case("sort", [TIES], {"descending": descending}, sort(-1), dtypes=FLOATS + INTS, grad=False)
    case("sort", [ODD], {"descending": descending}, sort(-1), grad=False)
    case("sort", [rand(2, 150)], {"descending": descending}, sort(-1), dtypes=("float32", "float64"), name=f"long{descending}", differences=False)
    case("sort", [ints(2, 120, low=0, high=100, dtype=None)], {"descending": descending}, sort(-1), dtypes=("int64", "uint8"), grad=False, name=f"longint{descending}")
    case("sort", [bools(2, 5)], {"descending": descending}, sort(-1), dtypes=("bool",), grad=False)
    case("argsort", [rand(3, 5)], {"axis": 0, "descending": descending}, lambda x, d=descending: t.argsort(x, dim=0, descending=d, stable=True), grad=False)
case("sort", [rand(2, 0)], {}, both(lambda x: t.sort(x, -1)), dtypes=("float32",))
case("sort", [rand()], {}, both(lambda x: t.sort(x, -1)), dtypes=("float32",))

for largest in (True, False):
    for axis, k in ((-1, 2), (0, 3), (1, 1)):
        case("topK", [rand(3, 4, 5, seed=3)], {"k": k, "axis": axis, "largest": largest}, both(lambda x, k=k, a=axis, l=largest: t.topk(x, k, a, largest=l)), dtypes=("float32", "float64"))
    case("topK", [values([[float(i * 37 % 601) for i in range(600)]])], {"k": 7, "largest": largest}, both(lambda x, l=largest: t.topk(x, 7, largest=l)), dtypes=("float32", "int32"), name=f"long{largest}", grad=False)
    case("topK", [values([[4, 1, 3, 2], [9, 8, 5, 7]])], {"k": 3, "largest": largest}, both(lambda x, l=largest: t.topk(x, 3, largest=l)), dtypes=FLOATS + INTS, grad=False)
    case("topK", [values([[1, nan, 3, -inf]])], {"k": 2, "largest": largest}, both(lambda x, l=largest: t.topk(x, 2, largest=l)), grad=False)
case("topK", [rand(2, 3)], {"k": 0}, both(lambda x: t.topk(x, 0)), dtypes=("float32",))

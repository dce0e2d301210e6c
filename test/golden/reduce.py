import torch as t
from cases import ALL, FLOATS, INTS, bools, case, ints, rand, values

nan, inf = float("nan"), float("inf")
AXES = [({}, None), ({"axis": 1}, (1,)), ({"axis": [0, -1], "keepDims": True}, (0, 2)), ({"axis": [0]}, (0,))]


def over(f):
    """`f(x, dims, keepdim)` for each choice of axes."""
    for attrs, dims in AXES:
        yield attrs, lambda x, dims=dims, keep=attrs.get("keepDims", False): f(x, dims if dims is not None else tuple(range(x.ndim)), keep)


for attrs, f in over(lambda x, d, k: t.sum(x, d, k)):
    case("sum", [rand(3, 4, 5)], attrs, f, dtypes=ALL)
    case("sum", [rand(2, 0, 3)], attrs, f, dtypes=("float32", "int32"))
case("sum", [rand()], torch=t.sum)
case("sum", [values([[1, inf, -inf], [nan, 1, 2], [inf, 1, 1]])], {"axis": 1}, lambda x: x.sum(1))
case("sum", [rand(40, 3)], {"axis": 0}, lambda x: x.sum(0), name="tall")
case("sum", [rand(2, 300)], {"axis": 1}, lambda x: x.sum(1), dtypes=("float32", "float64"), name="wide")
case("sumTo", [rand(3, 4)], {"shape": [1, 4]}, lambda x: x.sum(0, True))
case("sumTo", [rand(2, 3, 4)], {"shape": [3, 1]}, lambda x: x.sum((0, 2)).reshape(3, 1))

for attrs, f in over(lambda x, d, k: t.mean(x, d, k)):
    case("mean", [rand(3, 4, 5)], attrs, f)
case("mean", [rand(3, 4)], {"axis": 0}, lambda x: x.float().mean(0), dtypes=INTS + ("bool",))
case("mean", [rand(2, 0)], {"axis": 1}, lambda x: x.mean(1), dtypes=("float32",))
case("mean", [rand()], torch=t.mean)


def product(x, dims, keep):
    for d in sorted(dims, reverse=True):
        x = x.prod(d, keepdim=keep)
    return x


for attrs, f in over(product):
    case("prod", [rand(3, 2, 3)], attrs, f, dtypes=ALL)
case("prod", [rand(2, 0)], {"axis": 1}, lambda x: x.prod(1), dtypes=("float32",))
case("prod", [values([[1, 0, 3], [0, 2, 0], [4, 1, 2]])], {"axis": 1}, lambda x: x.prod(1))
case("prod", [values([[1, nan, 3], [0, 2, inf]])], {"axis": 1}, lambda x: x.prod(1), grad=False)
case("prod", [values([[[0, 3], [1, 2]], [[0, 0], [4, 5]], [[2, 0], [3, 0]]])], {"axis": [0, 2]}, lambda x: product(x, (0, 2), False))
case("prod", [values([0, 0, 5])], torch=t.prod)
case("prod", [rand()], torch=t.prod)

for op, f in (("max", t.amax), ("min", t.amin)):
    for attrs, g in over(lambda x, d, k, f=f: f(x, d, k)):
        case(op, [rand(3, 4, 5)], attrs, g, dtypes=("float32", "float64", "bfloat16", "float16"))
        case(op, [ints(3, 4, 5, low=0, high=100, dtype=None)], attrs, g, dtypes=INTS, grad=False)
        case(op, [bools(3, 4, 5)], attrs, g, dtypes=("bool",), grad=False)
    case(op, [values([[1, inf, -inf], [3, nan, 1], [-inf, -inf, -inf]])], {"axis": 1}, lambda x, f=f: f(x, 1), grad=False)
    case(op, [values([[1.0, 2, 2], [3, 3, 3]])], {"axis": 1}, lambda x, f=f: f(x, 1), second=False)
    case(op, [rand(0, 3)], {"axis": 1}, lambda x, f=f: f(x, 1), dtypes=("float32",))
    case(op, [rand()], torch=lambda x, f=f: f(x))

for op, f in (("any", t.any), ("all", t.all)):
    for attrs, g in over(lambda x, d, k, f=f: f(x != 0, d, k)):
        case(op, [bools(2, 3, 2)], attrs, g, dtypes=("bool",), grad=False)
    case(op, [values([[0, 0], [1, 0], [1, 2]])], {"axis": 1}, lambda x, f=f: f(x != 0, 1), dtypes=ALL, grad=False)
    case(op, [values([[nan, 0], [0.5, nan]])], {"axis": 1}, lambda x, f=f: f(x != 0, 1), grad=False)
    case(op, [rand(2, 0)], {"axis": 1}, lambda x, f=f: f(x != 0, 1), dtypes=("float32",), grad=False)
case("countNonzero", [values([[0, 0, 1], [1, 0, 3]])], {"axis": 1}, lambda x: t.count_nonzero(x, 1), dtypes=ALL, grad=False)
case("countNonzero", [values([[nan, 0.0], [inf, 0.25]])], {}, lambda x: t.count_nonzero(x), grad=False)

for attrs, f in over(lambda x, d, k: t.logsumexp(x, d, k)):
    case("logSumExp", [rand(3, 4, 5)], attrs, f)
case("logSumExp", [values([[1000, 1000], [-inf, 0], [-inf, -inf], [inf, 1], [nan, 1]])], {"axis": 1}, lambda x: t.logsumexp(x, 1), grad=False)

for attrs, f in over(lambda x, d, k: t.var(x, d, keepdim=k)):
    case("var", [rand(3, 4, 5)], attrs, f)
for attrs, f in over(lambda x, d, k: t.std(x, d, keepdim=k)):
    case("std", [rand(3, 4, 5)], attrs, f)
case("var", [rand(3, 5)], {"axis": 1, "correction": 0}, lambda x: t.var(x, 1, correction=0))
case("std", [rand(3, 5)], {"axis": 1, "correction": 2}, lambda x: t.std(x, 1, correction=2))
case("var", [rand(3, 1)], {"axis": 1}, lambda x: t.var(x, 1), dtypes=("float32",), grad=False)
case("var", [values([[10000.0, 10001, 10002], [nan, 1, 2], [inf, 1, 2]])], {"axis": 1}, lambda x: t.var(x, 1), dtypes=("float32", "float64"), grad=False)
case("std", [values([[2.0, 2, 2]])], {"axis": 1}, lambda x: t.std(x, 1), second=False)

for p in (1, 2, 3, 1.5, 0, 0.5):
    for attrs, f in over(lambda x, d, k, p=p: t.linalg.vector_norm(x, p, d, k)):
        case("norm", [rand(2, 3, 4, low=0.25)], {"p": p, **attrs}, f, second=p not in (0, 1), grad=p != 0,
             dtypes=FLOATS if p == 2 else ("float32", "float64"))
for p in (inf, -inf):
    case("norm", [rand(3, 4)], {"p": p, "axis": 1}, lambda x, p=p: t.linalg.vector_norm(x, p, 1), second=False)
case("norm", [values([[0.0, 0, 0], [3, 0, 4]])], {"axis": 1}, lambda x: t.linalg.vector_norm(x, 2, 1), second=False)
case("norm", [values([[-1.0, nan, 0], [3, inf, 4]])], {"axis": 1}, lambda x: t.linalg.vector_norm(x, 2, 1), grad=False)
case("norm", [values([[-1.0, 2], [3, -4]])], {"p": 3}, lambda x: t.linalg.vector_norm(x, 3))

TIES = values([[1, 3, 3, 2], [0, 0, 0, 0], [5, 1, 2, 1]])
for op, f in (("argmax", t.argmax), ("argmin", t.argmin)):
    for axis in (0, 1, -1):
        case(op, [TIES], {"axis": axis}, lambda x, f=f, a=axis: f(x, a), dtypes=FLOATS + INTS, grad=False)
    case(op, [rand(3, 4, 5)], {"axis": 1, "keepDims": True}, lambda x, f=f: f(x, 1, True), grad=False)
    case(op, [rand(3, 4, 5)], {}, lambda x, f=f: f(x), grad=False)
    case(op, [rand(3, 40)], {"axis": 1}, lambda x, f=f: f(x, 1), grad=False)
    case(op, [values([[1, nan, 2, nan], [inf, 1, -inf, inf], [nan, nan, nan, nan]])], {"axis": 1}, lambda x, f=f: f(x, 1), grad=False)
    case(op, [values([[1, nan, 2], [nan, 1, -inf]])], {"axis": 0}, lambda x, f=f: f(x, 0), grad=False)
    case(op, [bools(2, 3)], {"axis": 1}, lambda x, f=f: f(x.int(), 1), dtypes=("bool",), grad=False)

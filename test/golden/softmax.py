import torch as t
from cases import case, rand, values

nan, inf = float("nan"), float("inf")

for op, f in (("softmax", t.softmax), ("logSoftmax", t.log_softmax)):
    for axis in (-1, 0, 1):
        case(op, [rand(3, 4, 5, low=-4, high=4)], {"axis": axis}, lambda x, f=f, a=axis: f(x, a))
    case(op, [rand(2, 40, low=-4, high=4)], {}, lambda x, f=f: f(x, -1), dtypes=("float32", "float64"), name="long")
    case(op, [values([[1000.0, 1000, -1000], [-inf, 0, 1], [nan, 1, 2], [-inf, -inf, -inf], [inf, 1, 2]])], {}, lambda x, f=f: f(x, -1), grad=False)
    case(op, [values([[1000.0, 1000, -1000], [-inf, 0, 1], [nan, 1, 2], [inf, -inf, 2]])], {"axis": 0}, lambda x, f=f: f(x, 0), grad=False)
    case(op, [rand()], {}, lambda x, f=f: f(x, -1), dtypes=("float32",))
    case(op, [rand(2, 0)], {}, lambda x, f=f: f(x, -1), dtypes=("float32",))


def softmax_grad(y, g, axis):
    return y * (g - (g * y).sum(axis, True))


def log_softmax_grad(y, g, axis):
    return g - t.exp(y) * g.sum(axis, True)


for axis in (-1, 0, 1):
    case("softmaxGrad", [rand(2, 3, 4), rand(2, 3, 4)], {"axis": axis}, lambda y, g, a=axis: softmax_grad(y, g, a))
    case("logSoftmaxGrad", [rand(2, 3, 4), rand(2, 3, 4)], {"axis": axis}, lambda y, g, a=axis: log_softmax_grad(y, g, a))

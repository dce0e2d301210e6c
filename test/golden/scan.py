import torch as t
from cases import FLOATS, INTS, bools, case, ints, rand, values

nan, inf = float("nan"), float("inf")
WIDE = ("float32", "float64")


def flipped(f, axis):
    return lambda x: t.flip(f(t.flip(x, (axis,))), (axis,))


def scan(gain, x, axis, reverse):
    """The recurrence step by step."""
    gains, xs = gain.unbind(axis), x.unbind(axis)
    places, out = range(len(xs)), [None] * len(xs)
    for k in reversed(places) if reverse else places:
        before = k + 1 if reverse else k - 1
        out[k] = xs[k] if not 0 <= before < len(xs) else xs[k] + gains[max(k, before)] * out[before]
    return t.stack(out, axis)


SOME_ZEROS = [[0.5, 0.0, -1.5, 2.0], [0.0, 3.0, 0.0, 1.0], [1.0, -2.0, 0.5, 0.0], [0.0, 0.0, 0.0, 0.0]]
for op, f in (("cumsum", t.cumsum), ("cumprod", t.cumprod)):
    for axis in (-1, 0, 1):
        case(op, [rand(3, 4, 5)], {"axis": axis}, lambda x, f=f, a=axis: f(x, a), atol=1e-6, rtol=1e-5)
    case(op, [rand(2, 3, 70)], {"axis": 1}, lambda x, f=f: f(x, 1), dtypes=WIDE, differences=False, name=f"{op}wide")
    case(op, [rand()], {"axis": 0}, lambda x, f=f: f(x, 0), dtypes=WIDE)
    case(op, [rand(2, 0)], {"axis": 1}, lambda x, f=f: f(x, 1), dtypes=("float32",), second=False)
    case(op, [rand(0, 2)], {"axis": 1}, lambda x, f=f: f(x, 1), dtypes=("float32",), second=False)
    case(op, [values(SOME_ZEROS)], {"axis": 1}, lambda x, f=f: f(x, 1), dtypes=WIDE)
    case(op, [values([[1, nan, 2], [inf, 1, 2], [inf, -inf, 1], [-inf, 0, 1]])], {"axis": 1}, lambda x, f=f: f(x, 1), grad=False)
    case(op, [ints(3, 4, low=0, high=6, dtype=None)], {"axis": 0}, lambda x, f=f: f(x, 0), dtypes=INTS, grad=False)
    case(op, [ints(2, 4, low=2**40, high=2**62)], {"axis": 1}, lambda x, f=f: f(x, 1), dtypes=("int64",), grad=False)
    case(op, [bools(3, 4)], {"axis": 1}, lambda x, f=f: f(x, 1), dtypes=("bool",), grad=False)
for axis in (0, 1):
    case("cumsum", [rand(3, 4)], {"axis": axis, "reverse": True}, flipped(lambda x, a=axis: t.cumsum(x, a), axis), atol=1e-6, rtol=1e-5)
    for reverse in (False, True):
        case("linearScan", [rand(3, 4), rand(3, 4)], {"axis": axis, "reverse": reverse},
             lambda a, x, axis=axis, r=reverse: scan(a, x, axis, r), dtypes=WIDE)

import torch
from cases import ALL, FLOATS, INTS, bools, case, ints, rand, values

inf, nan = float("inf"), float("nan")
NUMBERS = FLOATS + INTS
EDGES = [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 1e-3, 3.0, -7.5, 88.0, -104.0, inf, -inf, nan]

# Arithmetic of two tensors: broadcasting in every direction, promotion, literals, scalars, empty tensors.
for name, f in [("add", torch.add), ("sub", torch.sub), ("mul", torch.mul)]:
    kinds = [d for d in ALL if d != "bool" or name != "sub"]
    case(name, [rand(2, 3, 4), rand(2, 3, 4)], torch=f, dtypes=kinds)
    case(name, [rand(5, 1, 3), rand(4, 1)], torch=f)
    case(name, [rand(3, 5), rand(5)], torch=f)
    case(name, [rand(3), rand()], torch=f)
    case(name, [rand(0, 3), rand(3)], torch=f, dtypes=("float32",))
    case(name, [values(EDGES), values(EDGES[::-1])], torch=f, grad=False)
    case(name, [rand(2, 3), values([[1, 2, 3]], "int32")], torch=f, name="with int32")
    case(name, [values([[1], [2]], "uint8"), values([[-1, 2, 3]], "int8")], torch=lambda a, b, f=f: f(a.int(), b.int()), dtypes=("int32",))
case("add", [rand(2, 3), 2.5], torch=lambda a, b: a + b, dtypes=NUMBERS, name="literal")
case("sub", [1, rand(2, 3)], torch=lambda a, b: a - b, name="literal")
case("div", [rand(2, 3, 4), rand(3, 1, low=0.5)], torch=torch.div, dtypes=FLOATS)
case("div", [rand(2, 3), ints(3, low=1, dtype="int32")], torch=torch.div)
case("div", [ints(2, 3, dtype=None), ints(3, low=1, dtype=None)], torch=torch.div, dtypes=INTS)
case("div", [values(EDGES), values(EDGES[::-1])], torch=torch.div, grad=False)
SIGNED = [7, -7, 7, -7, 6, -6, 0, 1, -1]
BY = [3, 3, -3, -3, 3, 3, 5, -1, -1]
for name, f in [("floorDiv", torch.floor_divide), ("mod", torch.remainder), ("fmod", torch.fmod)]:
    case(name, [rand(4, 3, low=-9, high=9), rand(3, low=1, high=3)], torch=f, grad=name != "floorDiv", second=False, atol=4e-3, differences=False)
    case(name, [values(SIGNED), values(BY)], torch=f, dtypes=("float32", "float64", "int8", "int32", "int64"), grad=False)
    case(name, [values([5.0, -5.0, 0.0, inf, 1.0, nan, 1.0]), values([0.0, 0.0, 0.0, 2.0, inf, 1.0, -0.3])], torch=f, dtypes=("float32", "float64"), grad=False)
    case(name, [values([200, 7, 255]), values([7, 2, 16])], torch=f, dtypes=("uint8",), grad=False)
case("pow", [rand(3, 4, low=0.2, high=3), rand(4)], torch=torch.pow)
case("pow", [rand(3, 4), 2], torch=lambda a, b: a**b, dtypes=FLOATS)
case("pow", [rand(3, 4, low=0.1), 0.5], torch=lambda a, b: a**b)
case("pow", [rand(3, 4), 3], torch=lambda a, b: a**b)
case("pow", [rand(3, low=0.3), -1], torch=lambda a, b: a**b)
case("pow", [values([0.0, 2.0, -2.0, 1.0]), values([0.0, 0.0, 0.0, 5.0])], torch=torch.pow, dtypes=("float32", "float64"), second=False)
case("pow", [values(EDGES), values(EDGES[::-1])], torch=torch.pow, grad=False, dtypes=("float32", "float64"))
case("pow", [ints(6, low=0, high=5, dtype=None), ints(6, low=0, high=3, dtype=None)], torch=torch.pow, dtypes=INTS)
case("pow", [values([1, -1, -1, 2, 3], "int64"), values([-5, -3, -2, -1, 39], "int64")], torch=torch.pow, dtypes=("int64",))
for name, f in [("maximum", torch.maximum), ("minimum", torch.minimum)]:
    case(name, [rand(2, 3, 4), rand(3, 1)], torch=f, dtypes=ALL)
    case(name, [values([1.0, 2.0, 3.0, nan, 1.0, inf]), values([1.0, 3.0, 2.0, 1.0, nan, -inf])], torch=f, dtypes=FLOATS, second=False)
case("atan2", [rand(4, 3), rand(3)], torch=torch.atan2)
case("atan2", [values([0.0, -0.0, 0.0, -0.0, 1.0, inf, nan]), values([1.0, 1.0, -1.0, -1.0, 0.0, -inf, 1.0])], torch=torch.atan2, grad=False)
case("atan2", [values([0.0, -0.0, 0.0, 2.0]), values([0.0, 0.0, 1.0, 0.0])], torch=torch.atan2, second=False)
case("hypot", [rand(4, 3), rand(3, low=0.5)], torch=torch.hypot)
case("hypot", [values([1e30, inf, 3.0]), values([1e30, nan, 4.0])], torch=torch.hypot, grad=False, dtypes=("float32", "float64"))
case("lerp", [rand(3, 4), rand(3, 4), rand(4, low=0, high=1)], torch=torch.lerp)
case("lerp", [rand(3, 4), rand(3, 4), 0.75], torch=torch.lerp)
case("addcmul", [rand(3, 4), rand(3, 4), rand(4)], {"value": 0.5}, lambda x, a, b: torch.addcmul(x, a, b, value=0.5), atol=4e-3)
case("addcdiv", [rand(3, 4), rand(3, 4), rand(4, low=0.5)], {"value": -2}, lambda x, a, b: torch.addcdiv(x, a, b, value=-2), atol=4e-3)

# Functions of one variable: in the middle of their domain, and at its edges.
WIDE = [1e-30, -1e-30, 1e-6, 0.3, -0.3, 0.999, 5.0, -5.0, 20.0, -20.0, 87.0, -87.0, 100.0, -100.0, 3e38, -3e38]
FUNCTIONS = [
    ("neg", torch.neg, -2, 2), ("abs", torch.abs, -2, 2), ("square", torch.square, -2, 2), ("reciprocal", torch.reciprocal, 0.4, 3),
    ("sqrt", torch.sqrt, 0.1, 4), ("rsqrt", torch.rsqrt, 0.3, 4), ("exp", torch.exp, -3, 3), ("expm1", torch.expm1, -3, 3),
    ("exp2", torch.exp2, -3, 3), ("log", torch.log, 0.1, 5), ("log1p", torch.log1p, -0.7, 5), ("log2", torch.log2, 0.1, 5),
    ("log10", torch.log10, 0.1, 5), ("sin", torch.sin, -4, 4), ("cos", torch.cos, -4, 4), ("tan", torch.tan, -1.2, 1.2),
    ("asin", torch.asin, -0.9, 0.9), ("acos", torch.acos, -0.9, 0.9), ("atan", torch.atan, -3, 3), ("sinh", torch.sinh, -3, 3),
    ("cosh", torch.cosh, -3, 3), ("tanh", torch.tanh, -3, 3), ("asinh", torch.asinh, -3, 3), ("acosh", torch.acosh, 1.2, 4),
    ("atanh", torch.atanh, -0.8, 0.8), ("erf", torch.erf, -3, 3), ("erfc", torch.erfc, -3, 3), ("erfinv", torch.erfinv, -0.95, 0.95),
    ("sigmoid", torch.sigmoid, -5, 5),
]
for name, f, low, high in FUNCTIONS:
    case(name, [rand(3, 7, low=low, high=high)], torch=f)
    case(name, [values(EDGES + WIDE)], torch=f, dtypes=("float32", "float64"), grad=False)
    case(name, [values(EDGES)], torch=f, dtypes=("float16", "bfloat16"), grad=False)
    if name not in ("neg", "abs", "square"):
        case(name, [ints(5, low=1, high=3, dtype=None)], torch=f, dtypes=("uint8", "int32", "int64", "bool"))
    case(name, [rand(0)], torch=f, dtypes=("float32",))
    case(name, [rand(low=low, high=high)], torch=f, dtypes=("float32",))
for name in ("neg", "abs", "square"):
    case(name, [values([3, -3, 0, 127])], torch=getattr(torch, name), dtypes=("int8", "int32", "int64"))
case("abs", [values([0.0, -1.0, 2.0])], torch=torch.abs)
case("sqrt", [values([0.0, 1.0])], torch=torch.sqrt, dtypes=("float32",), second=False)

HALVES = [-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 3.49, 1e10, 0.0, -0.0, inf, -inf, nan]
for name in ("sign", "ceil", "floor", "round", "trunc"):
    case(name, [rand(3, 4)], torch=getattr(torch, name))
    case(name, [values(HALVES)], torch=getattr(torch, name), second=False)
    case(name, [values([3, 0, 5])], torch=getattr(torch, name), dtypes=INTS)
case("frac", [rand(3, 4)], torch=torch.frac)

# Comparisons: exact for int64, NaN equals nothing.
BIG = [2**53, 2**53 + 1, -(2**53) - 1, 5, 0]
COMPARISONS = [
    ("equal", torch.eq), ("notEqual", torch.ne), ("less", torch.lt), ("lessEqual", torch.le), ("greater", torch.gt),
    ("greaterEqual", torch.ge),
]
for name, f in COMPARISONS:
    case(name, [ints(4, 3, high=3, dtype=None), ints(3, high=3, dtype=None)], torch=f, dtypes=ALL[:8])
    case(name, [values([True, False, True, False]), values([True, True, False, False])], torch=f, dtypes=("bool",))
    case(name, [values(BIG, "int64"), values([2**53 + 1, 2**53 + 1, -(2**53), 5, 1], "int64")], torch=f, dtypes=("int64",))
    case(name, [values(EDGES), values(EDGES[::-1])], torch=f)
    case(name, [rand(3, 4), 0.5], torch=f, dtypes=NUMBERS)
case("isClose", [values([1.0, 1.0, inf, nan, 0.0]), values([1.000001, 1.1, inf, nan, 1e-9])], torch=torch.isclose, dtypes=("float32", "float64"))
case("isClose", [values([1.0, nan]), values([1.05, nan])], {"rtol": 0.1, "atol": 0, "equalNan": True}, lambda a, b: torch.isclose(a, b, rtol=0.1, atol=0, equal_nan=True))
case("isClose", [values([1, 5]), values([1, 6])], torch=torch.isclose, dtypes=INTS)
case("allClose", [rand(3, 4), 1.5], torch=lambda a, b: torch.tensor(False))
case("allClose", [values([1.0, 2.0]), values([1.0, 2.0])], torch=lambda a, b: torch.tensor(True))
case("allClose", [values([1.0, 2.0]), values([1.0, 2.5])], {"atol": 1}, torch=lambda a, b: torch.tensor(True))

# Logic and bits.
for name, f in [("logicalAnd", torch.logical_and), ("logicalOr", torch.logical_or), ("logicalXor", torch.logical_xor)]:
    case(name, [ints(3, 4, low=0, high=2, dtype=None), ints(4, high=2, dtype=None)], torch=f, dtypes=ALL)
    case(name, [values([0.0, nan, 1e-30, 0.0]), values([nan, 0.0, 1.0, 0.0])], torch=f, dtypes=("float32", "float64"))
case("logicalNot", [ints(3, 4, high=2, dtype=None)], torch=torch.logical_not, dtypes=ALL)
case("logicalNot", [values([0.0, nan, 1e-30])], torch=torch.logical_not, dtypes=("float32", "float64"))
for name, f in [("bitwiseAnd", torch.bitwise_and), ("bitwiseOr", torch.bitwise_or), ("bitwiseXor", torch.bitwise_xor)]:
    case(name, [ints(3, 4, high=100, dtype=None), ints(4, high=100, dtype=None)], torch=f, dtypes=INTS + ("bool",))
    case(name, [values([-1, -128, 127]), values([5, 127, -1])], torch=f, dtypes=("int8", "int32", "int64"))
case("bitwiseNot", [values([0, 1, 100])], torch=torch.bitwise_not, dtypes=INTS + ("bool",))
case("shiftLeft", [values([1, 3, 100]), values([0, 2, 1])], torch=torch.bitwise_left_shift, dtypes=INTS)
case("shiftLeft", [values([1, 3, -5]), values([31, 40, 64], None)], torch=torch.bitwise_left_shift, dtypes=("int64",))
case("shiftRight", [values([64, 3, 100]), values([3, 0, 7])], torch=torch.bitwise_right_shift, dtypes=INTS)
case("shiftRight", [values([-64, -1, -100]), values([3, 7, 1])], torch=torch.bitwise_right_shift, dtypes=("int8", "int32", "int64"))
for name, f in [("isNan", torch.isnan), ("isInf", torch.isinf), ("isFinite", torch.isfinite)]:
    case(name, [values(EDGES)], torch=f)
    case(name, [ints(4, dtype=None)], torch=f, dtypes=INTS)
case("where", [bools(3, 4), rand(3, 4), rand(4)], torch=torch.where, dtypes=ALL)
case("where", [bools(3, 1), rand(4), 0], torch=torch.where, dtypes=FLOATS)
case("where", [bools(3, 4), ints(4), rand(3, 1)], torch=torch.where, dtypes=("float32",))
case("where", [values([True, False, True], "bool"), values([nan, nan, 1.0]), values([1.0, 2.0, inf])], torch=torch.where, second=False)

# Conversions between all dtypes.
for to in ALL:
    case("cast", [values([0, 1, 3, 100])], {"dtype": to}, lambda x, to=to: x.to(getattr(torch, to)), dtypes=ALL, second=False)
    if to in FLOATS:
        case("cast", [values([0.1, -2.7, 65519.0, 65520.0, 1e-8, 6e-8, inf, -inf, nan])], {"dtype": to}, lambda x, to=to: x.to(getattr(torch, to)), dtypes=FLOATS, grad=False)
    elif to != "bool":
        case("cast", [values([2.7, -2.7, 0.99, -0.5])], {"dtype": to}, lambda x, to=to: x.to(getattr(torch, to)) if to != "uint8" else x.to(torch.int32).to(torch.uint8), grad=False, dtypes=("float32", "float64", "float16"))
case("cast", [rand(2, 3)], {"dtype": "float64"}, lambda x: x.double(), dtypes=("float32",))

case("clamp", [rand(3, 4)], {"min": -0.5, "max": 1}, lambda x: x.clamp(-0.5, 1))
case("clamp", [rand(3, 4)], {"max": 0.25}, lambda x: x.clamp(max=0.25))
case("clamp", [values([-1.0, 1.0, 0.0, nan, inf, -inf])], {"min": -1, "max": 1}, lambda x: x.clamp(-1, 1), second=False)
case("clamp", [values([1.0, 5.0, 3.0])], {"min": 4, "max": 2}, lambda x: x.clamp(4, 2), grad=False)
case("clamp", [values([0, 3, 100])], {"min": 1, "max": 50}, lambda x: x.clamp(1, 50), dtypes=INTS)
case("clamp", [values([0, 3, 100])], {"min": 1.5}, lambda x: x.clamp(1.5), dtypes=("int32", "int64"))

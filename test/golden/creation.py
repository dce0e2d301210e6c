import torch

from cases import ALL, case, rand

DTYPES = ("float32", "float64", "float16", "bfloat16", "int8", "uint8", "int32", "int64", "bool")
ONE = ("float32",)


def of(dtype):
    return getattr(torch, dtype)


for dtype in DTYPES:
    given = {"dtype": dtype}
    case("zeros", [], {"shape": [2, 3], **given}, lambda d=dtype: torch.zeros(2, 3, dtype=of(d)), dtypes=ONE)
    case("ones", [], {"shape": [3], **given}, lambda d=dtype: torch.ones(3, dtype=of(d)), dtypes=ONE)
    case("full", [], {"shape": [2, 2], "value": 3, **given}, lambda d=dtype: torch.full((2, 2), 3, dtype=of(d)), dtypes=ONE)
    case("eye", [], {"rows": 3, **given}, lambda d=dtype: torch.eye(3, dtype=of(d)), dtypes=ONE)
    if dtype != "bool":
        case("range", [], {"start": 1, "step": 2, "count": 5, **given}, lambda d=dtype: torch.arange(1, 11, 2, dtype=of(d)), dtypes=ONE)
        case("linspace", [], {"start": 0, "stop": 10, "count": 3, **given}, lambda d=dtype: torch.linspace(0, 10, 3, dtype=of(d)), dtypes=ONE)
case("zeros", [], {"shape": []}, lambda: torch.zeros(()), dtypes=ONE)
case("ones", [], {"shape": [0, 2]}, lambda: torch.ones(0, 2), dtypes=ONE)
case("full", [], {"shape": [2], "value": float("-inf")}, lambda: torch.full((2,), float("-inf")), dtypes=ONE)
case("range", [], {"start": 0.5, "step": -0.3, "count": 4}, lambda: torch.arange(0.5, -0.6, -0.3), dtypes=ONE)
case("range", [], {"start": 0, "step": 1, "count": 0}, lambda: torch.arange(0.0), dtypes=ONE)
case("linspace", [], {"start": -1, "stop": 1, "count": 7}, lambda: torch.linspace(-1, 1, 7), dtypes=ONE)
case("linspace", [], {"start": 3, "stop": 9, "count": 1}, lambda: torch.linspace(3, 9, 1), dtypes=ONE)
case("eye", [], {"rows": 2, "columns": 4}, lambda: torch.eye(2, 4), dtypes=ONE)
case("eye", [], {"rows": 3, "columns": 2}, lambda: torch.eye(3, 2), dtypes=ONE)
case("zerosLike", [rand(2, 3)], {}, torch.zeros_like, dtypes=ALL)
case("onesLike", [rand(2, 3)], {}, torch.ones_like, dtypes=ALL)
case("fullLike", [rand(2, 3)], {"value": 2}, lambda x: torch.full_like(x, 2), dtypes=ALL)

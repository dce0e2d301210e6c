"""What a file of golden cases is written with: `case` states one, the rest describes its inputs.

A case names an op, gives its inputs and attributes, and says how PyTorch computes the same. `make.py` runs it in every
dtype that is listed and stores inputs, results, gradients and second-order gradients for test/registry.test.ts.
"""

from dataclasses import dataclass
from typing import Any, Callable, Optional, Sequence

import numpy as np
import torch as _torch

FLOATS = ("float32", "float64", "float16", "bfloat16")
INTS = ("int8", "uint8", "int32", "int64")
ALL = FLOATS + INTS + ("bool",)


@dataclass
class Given:
    """An input to be: `make(seed, dtype)` gives the tensor; `smooth` says that it has no values of special meaning."""

    make: Callable[[int, str], "_torch.Tensor"]
    smooth: bool = False


@dataclass
class Case:
    op: str
    inputs: Sequence[Any]
    attrs: dict
    torch: Callable
    dtypes: Sequence[str]
    grad: bool
    second: bool
    rtol: Optional[float]
    atol: Optional[float]
    name: str
    differences: bool
    views: bool


cases: list[Case] = []


def case(op, inputs, attrs={}, torch=None, dtypes=FLOATS, grad=True, second=True, rtol=None, atol=None, name=None,
         differences=True, views=True):
    """States a case; see the module's description.

    `rtol` and `atol` widen the driver's tolerances. `differences=False` leaves out finite differences (where the function
    has a kink or a jump at its inputs); they are also left out for inputs made by `values`. `views=False` leaves out the
    runs on inputs that are not contiguous.
    """
    number = sum(c.op == op for c in cases)
    cases.append(Case(op, inputs, attrs, torch, dtypes, grad, second, rtol, atol, name or str(number), differences, views))


def _cast(array, dtype):
    """Random floats as `dtype`: integers get a few distinct values, those of uint8 not negative."""
    if dtype == "bool":
        return _torch.tensor(array > 0)
    if dtype in INTS:
        array = np.abs(array) if dtype == "uint8" else array
        return _torch.tensor(np.round(array * 4)).to(getattr(_torch, dtype))
    return _torch.tensor(array).to(getattr(_torch, dtype))


def rand(*shape, low=-2, high=2, seed=0):
    """Uniform floats of the case's dtype; inputs of one case differ even with the same seed."""

    def make(salt, dtype):
        values = np.random.RandomState(1000 * seed + salt + 17).uniform(low, high, shape)
        return _cast(np.round(values * 4096) / 4096, dtype)

    return Given(make, smooth=True)


def ints(*shape, low=0, high=10, dtype="int64", seed=0):
    """Uniform integers from `low` to below `high`; `dtype=None` follows the case's dtype."""

    def make(salt, case_dtype):
        values = np.random.RandomState(1000 * seed + salt + 17).randint(low, high, shape)
        return _torch.tensor(values).to(getattr(_torch, dtype or case_dtype))

    return Given(make, smooth=dtype is not None)


def bools(*shape, seed=0):
    return Given(lambda salt, _: _torch.tensor(np.random.RandomState(1000 * seed + salt + 17).rand(*shape) > 0.5), smooth=True)


def values(nested, dtype=None):
    """Exactly these values (nan and inf too), in the case's dtype unless one is given."""
    return Given(lambda _, case_dtype: _torch.tensor(nested, dtype=getattr(_torch, dtype or case_dtype)))

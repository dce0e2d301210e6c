import numpy as np
import torch
import torch.nn.functional as F

from cases import ALL, FLOATS, bools, case, ints, rand, values

SOME = FLOATS + ("int32", "int64", "uint8", "bool")

case("reshape", [rand(2, 3, 4)], {"shape": [4, -1]}, lambda x: x.reshape(4, -1), dtypes=ALL)
case("reshape", [rand()], {"shape": [1, 1]}, lambda x: x.reshape(1, 1))
case("reshape", [rand(0, 3)], {"shape": [3, 0, 2]}, lambda x: x.reshape(3, 0, 2))
case("broadcastTo", [rand(3, 1)], {"shape": [2, 3, 4]}, lambda x: x.broadcast_to(2, 3, 4), dtypes=SOME)
case("broadcastTo", [rand()], {"shape": [0, 2]}, lambda x: x.broadcast_to(0, 2))
case("permute", [rand(2, 3, 4)], {"axes": [2, 0, -2]}, lambda x: x.permute(2, 0, -2), dtypes=ALL)
case("transpose", [rand(2, 3, 4)], {"axisA": 0, "axisB": -1}, lambda x: x.transpose(0, -1), dtypes=SOME)
case("moveAxis", [rand(2, 3, 4)], {"from": 0, "to": -1}, lambda x: x.movedim(0, -1))
case("moveAxis", [rand(2, 3, 4)], {"from": 2, "to": 0}, lambda x: x.movedim(2, 0))
case("flatten", [rand(2, 3, 4)], {}, lambda x: x.flatten())
case("flatten", [rand(2, 3, 4)], {"startAxis": 1}, lambda x: x.flatten(1))
case("flatten", [rand()], {}, lambda x: x.flatten())
case("squeeze", [rand(1, 3, 1)], {}, lambda x: x.squeeze())
case("squeeze", [rand(1, 3, 1)], {"axis": [-1]}, lambda x: x.squeeze(-1))
case("expandDims", [rand(2, 3)], {"axis": -2}, lambda x: x.unsqueeze(-2))
case("expandDims", [rand()], {"axis": 0}, lambda x: x.unsqueeze(0))
case("contiguous", [rand(3, 4)], {}, lambda x: x.contiguous(), dtypes=ALL)


def sliced(*slices):
    """A NumPy slice, with negative steps, as a differentiable index."""

    def run(x):
        at = np.arange(x.numel()).reshape(x.shape)[slices]
        return x.reshape(-1)[torch.tensor(at.copy())]

    return run


case("slice", [rand(4, 5)], {"starts": [1, -4], "ends": [3, -1]}, lambda x: x[1:3, -4:-1], dtypes=ALL)
case("slice", [rand(4, 5)], {"starts": [3, 4], "ends": [-9, 0], "steps": [-1, -2]}, sliced(slice(3, None, -1), slice(4, 0, -2)), dtypes=SOME)
case("slice", [rand(3, 7)], {"starts": [-100], "ends": [100], "steps": [3], "axes": [-1]}, lambda x: x[:, ::3])
case("slice", [rand(3, 4)], {"starts": [2], "ends": [1]}, lambda x: x[2:1])
case("narrow", [rand(4, 5)], {"axis": 1, "start": -4, "size": 2}, lambda x: x.narrow(1, -4, 2), dtypes=SOME)
case("flip", [rand(2, 3, 4)], {"axis": [0, -1]}, lambda x: x.flip(0, -1), dtypes=ALL)
case("flip", [rand(2, 3)], {}, lambda x: x.flip(0, 1))
case("diagonal", [rand(3, 4)], {}, lambda x: x.diagonal(), dtypes=SOME)
case("diagonal", [rand(2, 3, 4)], {"offset": -1, "axisA": 2, "axisB": 0}, lambda x: x.diagonal(-1, 2, 0))
case("diagonal", [rand(3, 4)], {"offset": 9}, lambda x: x.diagonal(9))
case("split", [rand(5, 3)], {"sizes": 2}, lambda x: x.split(2), dtypes=SOME)
case("split", [rand(2, 6)], {"sizes": [1, 0, 5], "axis": -1}, lambda x: x.split([1, 0, 5], -1))
case("chunk", [rand(3, 7)], {"parts": 3, "axis": 1}, lambda x: x.chunk(3, 1))
case("unstack", [rand(3, 4)], {"axis": 1}, lambda x: x.unbind(1))
case("strided", [rand(3, 4)], {"shape": [2, 2], "strides": [5, 2], "offset": 1}, lambda x: x.contiguous().as_strided((2, 2), (5, 2), 1))


def strided_grad(x):
    at = torch.arange(12).as_strided((2, 2), (5, 2), 1).reshape(-1)
    return torch.zeros(12, dtype=x.dtype).index_add(0, at, x.reshape(-1)).reshape(3, 4)


case("stridedGrad", [rand(2, 2)], {"shape": [3, 4], "strides": [5, 2], "offset": 1}, strided_grad)

case("concat", [[rand(2, 3), rand(1, 3), rand(0, 3)]], {}, lambda xs: torch.cat(xs), dtypes=ALL)
case("concat", [[rand(2, 3, 2), rand(2, 1, 2)]], {"axis": -2}, lambda xs: torch.cat(xs, -2))
case("concat", [[rand(2, 2), ints(1, 2, dtype="int32"), bools(1, 2)]], {}, lambda xs: torch.cat(xs), dtypes=("float32", "float16", "int64"))
case("stack", [[rand(2, 3), rand(2, 3)]], {"axis": 1}, lambda xs: torch.stack(xs, 1), dtypes=SOME)
case("stack", [[rand(), rand(), rand()]], {}, lambda xs: torch.stack(xs))

case("pad", [rand(2, 3)], {"padding": [1, 0, 2, 1], "value": 1.5}, lambda x: F.pad(x, (2, 1, 1, 0), value=1.5))
case("pad", [rand(4, 5)], {"padding": [-1, 2, 1, -2]}, lambda x: F.pad(x, (1, -2, -1, 2)), dtypes=SOME)
case("pad", [rand(1, 4, 5)], {"padding": [0, 0, 2, 1, 1, 3], "mode": "reflect"}, lambda x: F.pad(x, (1, 3, 2, 1), mode="reflect"))
case("pad", [rand(1, 3, 4)], {"padding": [0, 0, 2, 1, 1, 3], "mode": "edge"}, lambda x: F.pad(x, (1, 3, 2, 1), mode="replicate"))
case("pad", [rand(1, 3, 4)], {"padding": [0, 0, 0, 0, 4, 3], "mode": "circular"}, lambda x: F.pad(x, (4, 3), mode="circular"))
case("padConstant", [rand(2, 3)], {"padding": [0, 1, -1, 2], "value": -1}, lambda x: F.pad(x, (-1, 2, 0, 1), value=-1), dtypes=SOME[:-2])
case("roll", [rand(3, 4)], {"shifts": [1, -6], "axis": [0, 1]}, lambda x: x.roll((1, -6), (0, 1)), dtypes=SOME)
case("roll", [rand(3, 4)], {"shifts": 5}, lambda x: x.roll(5))
case("tile", [rand(2, 3)], {"repeats": [2, 1, 3]}, lambda x: x.tile(2, 1, 3), dtypes=SOME)
case("tile", [rand(2, 1, 2)], {"repeats": [2]}, lambda x: x.tile(2))
case("tile", [rand(2, 3)], {"repeats": [0, 2]}, lambda x: x.tile(0, 2))
case("repeat", [rand(2, 3)], {"count": 2, "axis": -1}, lambda x: x.repeat_interleave(2, -1), dtypes=SOME)
case("repeat", [rand(2, 3)], {"count": 3, "axis": 0}, lambda x: x.repeat_interleave(3, 0))
case("repeat", [rand(2, 3)], {"count": 2}, lambda x: x.repeat_interleave(2))
case("meshgrid", [[rand(2), rand(3), rand(1)]], {}, lambda xs: torch.meshgrid(*xs, indexing="ij"))
case("meshgrid", [[rand(2), rand(3), rand(4)]], {"indexing": "xy"}, lambda xs: torch.meshgrid(*xs, indexing="xy"))
for op, f in (("tril", torch.tril), ("triu", torch.triu)):
    case(op, [rand(3, 4)], {}, f, dtypes=ALL)
    case(op, [rand(2, 3, 4)], {"diagonal": 1}, lambda x, f=f: f(x, 1))
    case(op, [rand(4, 3)], {"diagonal": -2}, lambda x, f=f: f(x, -2))

import torch
import torch.nn.functional as F

from cases import ALL, FLOATS, INTS, case, ints, rand, values

SOME = FLOATS + ("int32", "int64", "uint8", "bool")
SUMS = FLOATS + INTS
AT = values([[0, 2], [1, 0], [3, 3]], "int64")
WIDE = values([[0, 2, 1, 4], [1, 1, 0, 0]], "int32")

case("gather", [rand(4, 2), AT], {"axis": 0}, lambda x, i: x.gather(0, i), dtypes=SOME)
case("gather", [rand(3, 5), WIDE], {"axis": -1}, lambda x, i: x.gather(-1, i.long()))
case("gather", [rand(2, 3, 4), ints(2, 5, 3, high=3)], {"axis": 1}, lambda x, i: x.gather(1, i))
case("gather", [rand(2, 3), values([[], []], "int64")], {"axis": 1}, lambda x, i: x.gather(1, i))
case("scatter", [rand(4, 2), values([[0, 2], [1, 0], [3, 3]], "int64"), rand(3, 2)], {"axis": 0}, lambda x, i, s: x.scatter(0, i, s), dtypes=SOME)
case("scatter", [rand(2, 5), values([[0, 2, 1, 4], [1, 2, 0, 4]], "int32"), 2.5], {"axis": 1}, lambda x, i, s: x.scatter(1, i.long(), s))
case("scatterAdd", [rand(4, 2), AT, rand(3, 2)], {"axis": 0}, lambda x, i, s: x.scatter_add(0, i, s), dtypes=SUMS)
case("scatterAdd", [rand(3, 5), WIDE, rand(2, 4)], {"axis": 1}, lambda x, i, s: x.scatter_add(1, i.long(), s))
case("indexSelect", [rand(4, 3), values([2, 0, 2], "int64")], {"axis": 0}, lambda x, i: x.index_select(0, i), dtypes=ALL)
case("indexSelect", [rand(2, 4, 3), values([3, 3, 1], "int32")], {"axis": -2}, lambda x, i: x.index_select(-2, i))
case("indexSelect", [rand(2, 4), values([], "int64")], {"axis": 1}, lambda x, i: x.index_select(1, i))
case("indexAdd", [rand(4, 3), values([2, 0, 2], "int64"), rand(3, 3)], {"axis": 0}, lambda x, i, s: x.index_add(0, i, s), dtypes=SUMS)
case("indexAdd", [rand(2, 4), values([3, 3, 1], "int32"), rand(2, 3)], {"axis": 1}, lambda x, i, s: x.index_add(1, i, s))


def select_grad(x, i):
    kept = (i != 1).to(x.dtype)[:, None]
    return torch.zeros(4, 2, dtype=x.dtype).index_add(0, i, x * kept)


case("indexSelectGrad", [rand(3, 2), values([3, 3, 0], "int64")], {"axis": 0, "size": 4},
     lambda x, i: torch.zeros(4, 2, dtype=x.dtype).index_add(0, i, x))
case("indexSelectGrad", [rand(4, 2), values([3, 1, 3, 0], "int64")], {"axis": 0, "size": 4, "skip": 1}, select_grad)
case("embedding", [rand(5, 3), values([[0, 4], [4, 1]], "int64")], {}, lambda w, i: F.embedding(i, w))
case("embedding", [rand(5, 3), values([4, 1, 4, 2], "int32")], {"paddingIndex": -1}, lambda w, i: F.embedding(i, w, padding_idx=-1))
case("take", [rand(3, 4), values([[0, 11], [5, 5]], "int64")], {}, lambda x, i: x.take(i), dtypes=SOME)
case("oneHot", [values([[0, 2], [1, 3]], "int64")], {"classes": 4}, lambda i: F.one_hot(i, 4).float(), dtypes=("float32",))
for dtype in ("int64", "bool", "bfloat16"):
    case("oneHot", [values([2, 0], "int32")], {"classes": 3, "dtype": dtype},
         lambda i, dtype=dtype: F.one_hot(i.long(), 3).to(getattr(torch, dtype)), dtypes=("float32",))
case("nonzeroAt", [values([[0, 3], [1, 0]])], {"count": 2, "flat": True}, lambda x: x.reshape(-1).nonzero().reshape(-1), dtypes=ALL)
case("nonzeroAt", [values([[0, 3, 1], [1, 0, 0]])], {"count": 3}, lambda x: x.nonzero(), dtypes=("float16", "int64", "bool"))
case("maskedFill", [rand(2, 3), values([True, False, True], "bool"), 7], {}, lambda x, m, v: x.masked_fill(m, v), dtypes=SOME)
case("maskedFill", [rand(2, 3), values([[True], [False]], "bool"), rand()], {}, lambda x, m, v: torch.where(m, v, x))

"""ctcLoss against its definition, a sum over all alignments, which must agree with PyTorch's.

PyTorch's own gradient is not used: it takes the log-probabilities to come of a log-softmax, and is right only after that.
"""

from itertools import groupby, product

import torch as t
import torch.nn.functional as F
from cases import case, rand, values

WIDE = ("float32", "float64")


def collapsed(path, blank):
    return [label for label, _ in groupby(path) if label != blank]


def sample_loss(x, labels, frames, blank, zero_infinity):
    paths = [p for p in product(range(x.shape[1]), repeat=frames) if collapsed(p, blank) == labels]
    if not paths:
        return x.new_tensor(0.0 if zero_infinity else float("inf"))
    return -t.stack([sum((x[i, c] for i, c in enumerate(p)), x.new_zeros(())) for p in paths]).logsumexp(0)


def ctc(x, targets, frames, lengths, blank=0, reduction="mean", zero_infinity=False):
    options = dict(blank=blank, reduction=reduction, zero_infinity=zero_infinity)
    each = t.stack([sample_loss(x[:, n], targets[n, : lengths[n]].tolist(), int(frames[n]), blank, zero_infinity)
                    for n in range(x.shape[1])])
    if reduction == "mean":
        each = each / lengths.clamp_min(1).to(each.dtype)
    own = each if reduction == "none" else getattr(each, reduction)()
    t.testing.assert_close(own, F.ctc_loss(x, targets, frames, lengths, **options))
    return own


REPEATS = [[1, 1, 3, 1], [2, 3, 2, 3], [2, 3, 1, 2], [3, 3, 3, 3]]
LENGTHS = [2, 3, 0, 1]
for kind in ("int64", "int32"):
    for reduction in ("mean", "sum", "none"):
        case("ctcLoss", [rand(5, 4, 4, low=-3, high=-0.1), values(REPEATS, kind), values([5, 4, 5, 3], kind), values(LENGTHS, kind)],
             {"reduction": reduction}, lambda x, y, a, b, r=reduction: ctc(x, y, a, b, reduction=r), dtypes=WIDE, second=False)
    case("ctcLoss", [rand(4, 2, 3, low=-3, high=-0.1), values([[0, 1, 1], [1, 1, 1]], kind), values([4, 4], kind), values([2, 2], kind)],
         {"blank": 2}, lambda x, y, a, b: ctc(x, y, a, b, blank=2), dtypes=WIDE, second=False)

# Too few frames: a repeated label needs a blank between, and no frames give only the empty sequence.
SHORT = [values([[1, 1], [1, 2], [1, 2], [1, 2]], "int64"), values([2, 1, 0, 0], "int64"), values([2, 2, 0, 1], "int64")]
for reduction in ("mean", "none"):
    case("ctcLoss", [rand(4, 4, 3, low=-3, high=-0.1), *SHORT], {"reduction": reduction},
         lambda x, y, a, b, r=reduction: ctc(x, y, a, b, reduction=r), dtypes=WIDE, grad=False)
MIXED = [values([[1, 1], [1, 2], [2, 2], [0, 0]], "int64"), values([2, 3, 3, 0], "int64"), values([2, 2, 2, 0], "int64")]
case("ctcLoss", [rand(4, 4, 3, low=-3, high=-0.1), *MIXED], {"zeroInfinity": True, "reduction": "sum"},
     lambda x, y, a, b: ctc(x, y, a, b, reduction="sum", zero_infinity=True), dtypes=WIDE, second=False)

case("ctcLoss", [rand(3, 2, 3, low=-3, high=-0.1), values([[], []], "int64"), values([3, 2], "int64"), values([0, 0], "int64")],
     {"reduction": "none"}, lambda x, y, a, b: ctc(x, y, a, b, reduction="none"), dtypes=WIDE, second=False)
case("ctcLoss", [values([[[-1.0, float("-inf"), -2.0]], [[-0.5, -1.0, -3.0]], [[float("-inf"), -1.0, -0.25]]]), values([[1]], "int64"),
                 values([3], "int64"), values([1], "int64")], {}, lambda x, y, a, b: ctc(x, y, a, b), dtypes=WIDE, grad=False)

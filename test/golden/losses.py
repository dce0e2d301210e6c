import torch as t
import torch.nn.functional as F
from cases import case, ints, rand, values

W = values([0.5, 1.0, 2.0, 0.25])
REDUCTIONS = ("mean", "sum", "none")


def classes_second(x):
    return x.movedim(-1, 1) if x.ndim > 2 else x


def ce(x, y, w=None, **options):
    y = y.long() if not y.is_floating_point() else classes_second(y)
    return F.cross_entropy(classes_second(x), y, w, **options)


for r in REDUCTIONS:
    for smoothing in (0, 0.1):
        torch_options = {"reduction": r, "label_smoothing": smoothing}
        attrs = {"reduction": r, "labelSmoothing": smoothing}
        small = dict(dtypes=("float32", "float64"))
        case("crossEntropy", [rand(5, 4), ints(5, high=4)], attrs, lambda x, y, o=torch_options: ce(x, y, **o), **({} if r == "mean" else small))
        case("crossEntropy", [rand(5, 4), values([0, 3, -100, 1, -100], "int64"), W], attrs, lambda x, y, w, o=torch_options: ce(x, y, w.detach(), **o), grad=False, **small)
        case("crossEntropy", [rand(5, 4), values([0, 3, -100, 1, -100], "int32")], attrs, lambda x, y, o=torch_options: ce(x, y, **o), **small)
        case("crossEntropy", [rand(2, 3, 4), ints(2, 3, high=4, dtype="int32")], {**attrs, "ignoreIndex": 2}, lambda x, y, o=torch_options: ce(x, y, ignore_index=2, **o), **small)
        case("crossEntropy", [rand(3, 4), rand(3, 4, low=0, high=1)], attrs, lambda x, y, o=torch_options: ce(x, y, **o), **small)
        case("crossEntropy", [rand(2, 3, 4), rand(2, 3, 4, low=0, high=1)], attrs, lambda x, y, o=torch_options: ce(x, y, **o), **small)
case("crossEntropy", [values([[1000.0, -1000, 0], [1e30, 0, 0]]), values([1, 0], "int64")], {"reduction": "none"}, lambda x, y: ce(x, y, reduction="none"), dtypes=("float32", "float64"), second=False)
case("crossEntropy", [values([[1.0, float("nan"), 0], [1, 2, 3]]), values([1, 0], "int64")], {"reduction": "none"}, lambda x, y: ce(x, y, reduction="none"), grad=False)
case("crossEntropy", [rand(2, 3), values([-100, -100], "int64")], {}, lambda x, y: ce(x, y), dtypes=("float32",), grad=False)
case("crossEntropyParts", [rand(3, 4), ints(3, high=4)], {}, lambda x, y: (F.cross_entropy(x, y), t.logsumexp(x, 1), t.ones(3, dtype=x.dtype), t.tensor(3, dtype=x.dtype)), dtypes=("float32", "float64"), grad=False)
case("crossEntropyGrad", [rand(3, 4), ints(3, high=4), None, rand(3, seed=8), rand(3, low=1), values(2.0), values(3.0)], {},
     lambda x, y, w, l, r, d, g: (g / d) * (r[:, None] * t.exp(x - l[:, None]) - F.one_hot(y, 4)), dtypes=("float32", "float64"), grad=False)

def linear_ce(x, w, y, b=None, **options):
    return ce((x @ w.T + (0 if b is None else b)).reshape(-1, w.shape[0]), y.reshape(-1), **options)


for r in ("mean", "sum"):
    a = {"reduction": r}
    case("linearCrossEntropy", [rand(5, 3), rand(4, 3), ints(5, high=4), rand(4)], a, lambda x, w, y, b, r=r: linear_ce(x, w, y, b, reduction=r), rtol=1e-5, atol=2e-6)
    case("linearCrossEntropy", [rand(2, 3, 2), rand(5, 2), values([[0, 4, -100], [1, -100, 2]], "int32"), None], {**a, "labelSmoothing": 0.2},
         lambda x, w, y, _, r=r: linear_ce(x, w, y, reduction=r, label_smoothing=0.2), dtypes=("float32", "float64"), rtol=1e-5, atol=2e-6)
    case("linearCrossEntropy", [rand(70, 3), rand(9, 3), ints(70, high=9), rand(9)], {**a, "ignoreIndex": 1}, lambda x, w, y, b, r=r: linear_ce(x, w, y, b, reduction=r, ignore_index=1), dtypes=("float32",), second=False, rtol=1e-5, atol=1e-5)
case("linearCrossEntropy", [rand(3, 2), rand(4, 2), ints(3, high=4), None], {"reduction": "none"}, lambda x, w, y, _: linear_ce(x, w, y, reduction="none"), dtypes=("float32", "float64"))

PAIR = [rand(3, 4), rand(3, 4)]
for r in REDUCTIONS:
    a = {"reduction": r}
    case("mseLoss", PAIR, a, lambda x, y, r=r: F.mse_loss(x, y, reduction=r))
    case("maeLoss", PAIR, a, lambda x, y, r=r: F.l1_loss(x, y, reduction=r), second=False)
    case("huberLoss", PAIR, {**a, "delta": 0.7}, lambda x, y, r=r: F.huber_loss(x, y, reduction=r, delta=0.7), second=False)
    case("binaryCrossEntropyWithLogits", [rand(3, 4), rand(3, 4, low=0, high=1)], a, lambda x, y, r=r: F.binary_cross_entropy_with_logits(x, y, reduction=r))
    case("nllLoss", [rand(5, 4), values([0, 3, -100, 1, -100], "int64"), W], a, lambda x, y, w, r=r: F.nll_loss(x, y, w.detach(), reduction=r), grad=False)
    case("nllLoss", [rand(5, 4), values([0, 3, -100, 1, 2], "int64")], a, lambda x, y, r=r: F.nll_loss(x, y, reduction=r), second=False)
    case("focalLoss", [rand(3, 4), values([[1.0, 0, 0, 1], [0, 0, 1, 1], [1, 1, 0, 0]])], a, lambda x, y, r=r: focal(x, y, r), dtypes=("float32", "float64"))
    case("cosineEmbeddingLoss", [rand(3, 4), rand(3, 4), values([1, -1, -1], "int64")], {**a, "margin": 0.1}, lambda x, y, t, r=r: F.cosine_embedding_loss(x, y, t, 0.1, reduction=r), second=False, dtypes=("float32", "float64"))
    case("tripletMarginLoss", [rand(3, 4), rand(3, 4), rand(3, 4)], a, lambda x, y, z, r=r: F.triplet_margin_loss(x, y, z, reduction=r), second=False, dtypes=("float32", "float64"))


def focal(x, y, reduction):
    p = t.sigmoid(x)
    ce_ = F.binary_cross_entropy_with_logits(x, y, reduction="none")
    loss = (0.25 * y + 0.75 * (1 - y)) * ce_ * (1 - (p * y + (1 - p) * (1 - y))) ** 2
    return loss if reduction == "none" else getattr(loss, reduction)()


case("binaryCrossEntropyWithLogits", [rand(3, 4), rand(3, 4, low=0, high=1), rand(4, low=0.5), rand(4, low=0.5)], {},
     lambda x, y, w, p: (w * ((1 - y) * x - (1 + (p - 1) * y) * F.logsigmoid(x))).mean(), dtypes=("float32", "float64"))
case("binaryCrossEntropyWithLogits", [values([100.0, -100, 0, 1000]), values([0.0, 1, 1, 1])], {"reduction": "none"},
     lambda x, y: F.binary_cross_entropy_with_logits(x, y, reduction="none"), dtypes=("float32", "float64"), second=False)
for name, torch_name in (("mean", "mean"), ("batchMean", "batchmean"), ("sum", "sum"), ("none", "none")):
    case("klDivergence", [rand(3, 4), rand(3, 4, low=0.1, high=1)], {"reduction": name}, lambda x, y, r=torch_name: F.kl_div(x, y, reduction=r), dtypes=("float32", "float64"))
    case("klDivergence", [rand(3, 4), rand(3, 4)], {"reduction": name, "logTarget": True}, lambda x, y, r=torch_name: F.kl_div(x, y, reduction=r, log_target=True), dtypes=("float32", "float64"))
case("klDivergence", [values([[-1.0, -2]]), values([[0.0, 1]])], {}, lambda x, y: F.kl_div(x, y, reduction="batchmean"), dtypes=("float32",), grad=False)
case("cosineSimilarity", [rand(3, 4), rand(3, 4)], {"axis": 1}, lambda x, y: F.cosine_similarity(x, y, 1), dtypes=("float32", "float64"))
case("cosineSimilarity", [rand(3, 4), rand(3, 4)], {"axis": 0}, lambda x, y: F.cosine_similarity(x, y, 0), dtypes=("float32", "float64"))

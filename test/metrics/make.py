"""Golden values of metrics by scikit-learn (and NumPy): python test/metrics/make.py writes golden.json beside this file."""
import json
import os

import numpy as np
from sklearn import metrics as sk

rng = np.random.default_rng(5)
cases = []


def case(metric, output, target, value, **extra):
    value = value.tolist() if isinstance(value, np.ndarray) else float(value)
    cases.append({"metric": metric, "output": output.tolist(), "target": target.tolist(), "value": value, **extra})


def softmax(z):
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def binary(logits, target):
    predicted = (logits > 0).astype(int).ravel()
    truth = target.ravel()
    case("accuracy", logits, target, sk.accuracy_score(truth, predicted))
    for name, fn in (("precision", sk.precision_score), ("recall", sk.recall_score), ("f1", sk.f1_score)):
        case(name, logits, target, fn(truth, predicted, zero_division=0))
        for average in ("macro", "micro", "weighted"):
            case(name, logits, target, fn(truth, predicted, average=average, zero_division=0), average=average)
    case("rocAuc", logits, target, sk.roc_auc_score(truth, logits.ravel()))
    case("prAuc", logits, target, sk.average_precision_score(truth, logits.ravel()))
    case("confusion", logits, target, sk.confusion_matrix(truth, predicted, labels=[0, 1]))


def multiclass(logits, truth, classes):
    predicted = logits.argmax(-1)
    for target in (truth, np.eye(classes)[truth]):
        case("accuracy", logits, target, sk.accuracy_score(truth, predicted))
        for k in (1, 2, 3):
            case("topK", logits, target, sk.top_k_accuracy_score(truth, logits, k=k, labels=range(classes)), k=k)
    for name, fn in (("precision", sk.precision_score), ("recall", sk.recall_score), ("f1", sk.f1_score)):
        for average in ("macro", "micro", "weighted"):
            value = fn(truth, predicted, labels=range(classes), average=average, zero_division=0)
            case(name, logits, truth, value, average=average)
    case("confusion", logits, truth, sk.confusion_matrix(truth, predicted, labels=range(classes)))
    p = softmax(logits)
    one_hot = np.eye(classes)[truth]
    case("rocAuc", logits, truth, sk.roc_auc_score(truth, p, multi_class="ovr", average="macro"))
    case("prAuc", logits, truth, sk.average_precision_score(one_hot, p, average="macro"))


binary(rng.normal(size=(24, 1)).round(2), rng.integers(0, 2, (24, 1)))
binary(rng.normal(size=24).round(2), rng.integers(0, 2, 24))
# Ties: only five different scores.
binary(rng.integers(-2, 3, 30).astype(float), rng.integers(0, 2, 30))
multiclass(rng.normal(size=(30, 4)).round(2), np.r_[np.arange(4), rng.integers(0, 4, 26)], 4)

# Sequences: [examples, length, classes] with [examples, length].
logits, truth = rng.normal(size=(6, 5, 3)).round(2), rng.integers(0, 3, (6, 5))
case("accuracy", logits, truth, sk.accuracy_score(truth.ravel(), logits.argmax(-1).ravel()))
case("f1", logits, truth, sk.f1_score(truth.ravel(), logits.argmax(-1).ravel(), average="macro"), average="macro")
log_p = np.log(softmax(logits))
picked = np.take_along_axis(log_p, truth[..., None], -1)[..., 0]
case("perplexity", logits, truth, np.exp(-picked.mean()))
ignored = truth.copy()
ignored[:, 3:] = -100
case("perplexity", logits, ignored, np.exp(-picked[:, :3].mean()))

for shape in ((20,), (20, 1), (10, 3)):
    y, t = rng.normal(size=shape).round(3), rng.normal(size=shape).round(3)
    flat = (t.ravel(), y.ravel())
    case("mae", y, t, sk.mean_absolute_error(*flat))
    case("mse", y, t, sk.mean_squared_error(*flat))
    case("rmse", y, t, sk.mean_squared_error(*flat) ** 0.5)
    case("r2", y, t, sk.r2_score(*flat))

here = os.path.dirname(os.path.abspath(__file__))
with open(os.path.join(here, "golden.json"), "w") as file:
    file.write("[\n" + ",\n".join(json.dumps(c, separators=(",", ":")) for c in cases) + "\n]\n")

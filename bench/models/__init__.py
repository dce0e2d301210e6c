"""PyTorch's counterparts of the networks beside them."""

from models import bert, gpt2, resnet50
from models.small import cnn, lstm, mlp, tiny_mlp

NETWORKS = {"bert": bert, "cnn": cnn, "gpt2": gpt2, "lstm": lstm, "mlp": mlp, "resnet50": resnet50, "tinyMlp": tiny_mlp}

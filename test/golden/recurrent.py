"""Recurrent layers in one direction, against torch.nn's modules with the same weights."""

import torch
from torch.func import functional_call
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from cases import case, rand, values

N, T, C, H = 3, 4, 5, 3


def flipped(x, lengths):
    """The steps of every row in the opposite order, padding staying behind."""
    n = [x.shape[1]] * x.shape[0] if lengths is None else lengths.tolist()
    return torch.stack([torch.cat([row[:k].flip(0), row[k:]]) for row, k in zip(x, n)])


def layer(kind, reverse=False, **options):
    def run(x, w_ih, w_hh, b_ih, b_hh, *rest):
        *states, lengths = rest
        bias = b_ih is not None or b_hh is not None
        module = kind(w_ih.shape[1], w_hh.shape[1], batch_first=True, bias=bias, device="meta", dtype=x.dtype, **options)
        weights = {"weight_ih_l0": w_ih, "weight_hh_l0": w_hh}
        if bias:
            zeros = w_ih.new_zeros(w_ih.shape[0])
            weights |= {"bias_ih_l0": zeros if b_ih is None else b_ih, "bias_hh_l0": zeros if b_hh is None else b_hh}
        start = [x.new_zeros(x.shape[0], w_hh.shape[1]) if s is None else s for s in states]
        start = tuple(s.unsqueeze(0) for s in start)
        given = flipped(x, lengths) if reverse else x
        if lengths is not None:
            given = pack_padded_sequence(given, lengths, batch_first=True, enforce_sorted=False)
        output, state = functional_call(module, weights, (given, start if len(start) > 1 else start[0]))
        if lengths is not None:
            output, _ = pad_packed_sequence(output, batch_first=True, total_length=x.shape[1])
        if reverse:
            output = flipped(output, lengths)
        state = state if isinstance(state, tuple) else (state,)
        return (output, *(s.squeeze(0) for s in state))

    return run


def inputs(gates, states, bias=True, start=True, lengths=None):
    biases = [rand(gates * H, low=-1, high=1), rand(gates * H, low=-1, high=1)] if bias else [None, None]
    return [
        rand(N, T, C),
        rand(gates * H, C, low=-1, high=1),
        rand(gates * H, H, low=-1, high=1),
        *biases,
        *([rand(N, H) for _ in range(states)] if start else [None] * states),
        None if lengths is None else values(lengths, dtype="int64"),
    ]


KINDS = {
    "rnn": (torch.nn.RNN, 1, 1, {}),
    "gru": (torch.nn.GRU, 3, 1, {}),
    "lstm": (torch.nn.LSTM, 4, 2, {}),
}
for op, (kind, gates, states, options) in KINDS.items():
    case(op, inputs(gates, states), torch=layer(kind))
    double = {"dtypes": ("float32", "float64")}
    case(op, inputs(gates, states), {"reverse": True}, torch=layer(kind, reverse=True), name="reverse", **double)
    case(op, inputs(gates, states, bias=False, start=False), torch=layer(kind), name="bare", **double)
    case(op, inputs(gates, states, lengths=[4, 1, 3]), torch=layer(kind), name="lengths", **double)
    case(op, inputs(gates, states, lengths=[2, 4, 3]), {"reverse": True}, torch=layer(kind, reverse=True),
         name="reverse lengths", **double)

case("rnn", inputs(1, 1), {"nonlinearity": "relu"}, torch=layer(torch.nn.RNN, nonlinearity="relu"), name="relu",
     differences=False)

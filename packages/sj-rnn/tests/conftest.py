"""The oracle: loops over steps, gates and sequences written from the equations, in float64."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch

from sj_core import backend, surrogate
from sj_rnn import SpikingGRU, SpikingLSTM, SpikingVanillaRNN, recurrence

# g'(x) of every surrogate, from the table of its definition, with default parameters.
DERIVATIVES = {
    "PiecewiseQuadratic": lambda x: torch.relu(1 - x.abs()),
    "PiecewiseExp": lambda x: 0.5 * torch.exp(-x.abs()),
    "Sigmoid": lambda x: 4 * torch.sigmoid(4 * x) * torch.sigmoid(-4 * x),
    "SoftSign": lambda x: 1 / (4 * (0.5 + x.abs()) ** 2),
    "SuperSpike": lambda x: 1 / (1 + x.abs()) ** 2,
    "ATan": lambda x: 1 / (1 + (math.pi * x) ** 2),
    "NonzeroSignLogAbs": lambda x: 1 / (1 + x.abs()),
    "Erf": lambda x: 2 / math.sqrt(math.pi) * torch.exp(-4 * x * x),
    "PiecewiseLeakyReLU": lambda x: 0.01 + 0.49 * (x.abs() < 1).to(x),
    "SquarewaveFourierSeries": lambda x: (
        0.5 * (torch.cos(math.pi / 4 * x) + torch.cos(3 * math.pi / 4 * x))
    ),
    "S2NN": lambda x: torch.where(
        x < 0, 4 * torch.sigmoid(4 * x) * torch.sigmoid(-4 * x), 1 / (x.abs() + 1)
    ),
    "QPseudoSpike": lambda x: (1 + 2 * x.abs()) ** -2.0,
    "LeakyKReLU": lambda x: torch.where(x < 0, 0.0, 1.0).to(x),
    "FakeNumericalGradient": lambda x: torch.minimum(1 / x.abs(), torch.full_like(x, 0.3)),
    "LogTailedReLU": lambda x: torch.where(x <= 0, 0.0, torch.where(x <= 1, 1.0, 1 / x)).to(x),
    "Rect": lambda x: torch.where(x.abs() < 0.5, 1.0, 0.0).to(x),
}


class _Spike(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, derivative):
        ctx.save_for_backward(x)
        ctx.derivative = derivative
        return (x >= 0).to(x)

    @staticmethod
    def backward(ctx, grad):
        return grad * ctx.derivative(ctx.saved_tensors[0]), None


def spike(name):
    """The spike function of a surrogate with its default parameters."""
    return lambda x: _Spike.apply(x, DERIVATIVES[name])


class _ClampStraight(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, limit):
        return torch.minimum(x, torch.full_like(x, limit))

    @staticmethod
    def backward(ctx, grad):
        return grad, None


def step(kind, x, states, weights, s1, s2, clamp=None):
    """One step of one cell; ``weights`` = (w_ih, w_hh, b_ih or None, b_hh or None)."""
    w_ih, w_hh, b_ih, b_hh = weights
    h = states[0]
    size = h.shape[-1]
    a = x @ w_ih.T + (0 if b_ih is None else b_ih)
    b = h @ w_hh.T + (0 if b_hh is None else b_hh)

    def part(t, k):
        return t[:, k * size : (k + 1) * size]

    if kind == "lstm":
        c = states[1]
        i = s1(part(a, 0) + part(b, 0))
        f = s1(part(a, 1) + part(b, 1))
        g = s2(part(a, 2) + part(b, 2))
        o = s1(part(a, 3) + part(b, 3))
        c = f * c + i * g
        if clamp is not None:
            c = _ClampStraight.apply(c, clamp)
        return (o * c, c)
    if kind == "gru":
        r = s1(part(a, 0) + part(b, 0))
        z = s1(part(a, 1) + part(b, 1))
        n = s2(part(a, 2) + r * part(b, 2))
        return ((1 - z) * n + z * h,)
    return (s1(a + b),)


def sequence(kind, x, states, weights, s1, s2, clamp=None, reverse=False):
    """Output ``[T, N, H]`` in x's order and the last states, of one direction of one layer."""
    out = {}
    order = range(x.shape[0])
    for t in reversed(order) if reverse else order:
        states = step(kind, x[t], states, weights, s1, s2, clamp)
        out[t] = states[0]
    return torch.stack([out[t] for t in order]), states


def weights_of(cell):
    return (cell.weight_ih(), cell.weight_hh(), cell.bias_ih(), cell.bias_hh())


def network(kind, x, states, stacks, s1, s2, clamp=None):
    """``stacks``: per direction a list of weights per layer; states: list of [L*D, N, H]."""
    layers = len(stacks[0])
    last = {}
    for layer in range(layers):
        outs = []
        for direction, stack in enumerate(stacks):
            row = layer + layers * direction
            own = tuple(s[row] for s in states)
            y, end = sequence(kind, x, own, stack[layer], s1, s2, clamp, reverse=direction == 1)
            outs.append(y)
            last[row] = end
        x = torch.cat(outs, -1)
    rows = range(len(last))
    return x, [torch.stack([last[r][k] for r in rows]) for k in range(len(states))]


def padded_network(kind, x, states, stacks, s1, s2, lengths, clamp=None):
    """The same with ``lengths``: each sequence alone, cut to its length, then padded again."""
    ys, ends = [], []
    for n, length in enumerate(lengths):
        own = [s[:, n : n + 1] for s in states]
        size = states[0].shape[-1] * len(stacks)
        if length == 0:
            y, end = x.new_zeros(0, 1, size), own
        else:
            y, end = network(kind, x[:length, n : n + 1], own, stacks, s1, s2, clamp)
        ys.append(torch.cat([y, x.new_zeros(x.shape[0] - length, 1, size)]))
        ends.append(end)
    return torch.cat(ys, 1), [torch.cat(parts, 1) for parts in zip(*ends, strict=True)]


@pytest.fixture(scope="session")
def oracle():
    return SimpleNamespace(
        derivatives=DERIVATIVES,
        spike=spike,
        step=step,
        sequence=sequence,
        network=network,
        padded_network=padded_network,
        weights_of=weights_of,
    )


@pytest.fixture(params=["torch", "step kernels", "sequence kernels"])
def gates(request, monkeypatch):
    """The gate arithmetic in torch, by a kernel per step, and by one for all steps."""
    if request.param == "torch":
        monkeypatch.setattr(backend, "kernels", lambda: None)
        return request.param
    if backend.kernels() is None:
        pytest.skip("sj-kernels is not installed")
    if request.param == "step kernels":
        monkeypatch.setattr(recurrence, "sequence_kernel_of", lambda plan, x, h: None)
    return request.param


NETS = {"lstm": (SpikingLSTM, 2), "gru": (SpikingGRU, 1), "vanilla": (SpikingVanillaRNN, 1)}
KEYWORD = {"vanilla": "surrogate_function"}


def make(kind, *args, name="Erf", **kwargs):
    surrogates = {KEYWORD.get(kind, "surrogate_function1"): getattr(surrogate, name)()}
    return NETS[kind][0](*args, **(surrogates | kwargs))


def states_of(kind, net, batch, dtype=torch.float64):
    rows = net.num_layers * (2 if net.bidirectional else 1)
    return [
        torch.randn(rows, batch, net.hidden_size, dtype=dtype, requires_grad=True)
        for _ in range(NETS[kind][1])
    ]


def as_argument(states):
    return tuple(states) if len(states) > 1 else states[0]


def as_list(states):
    return [states] if isinstance(states, torch.Tensor) else list(states)


@pytest.fixture
def nets():
    """The networks by kind, and how to make one and its states."""
    return SimpleNamespace(
        NETS=NETS,
        KEYWORD=KEYWORD,
        make=make,
        states_of=states_of,
        as_argument=as_argument,
        as_list=as_list,
    )

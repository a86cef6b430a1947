"""Two cells over one sequence: alignment in time, states and their forms."""

import pytest
import torch

from sj_core import surrogate
from sj_rnn import (
    SpikingGRU,
    SpikingGRUCell,
    SpikingLSTM,
    SpikingLSTMCell,
    SpikingVanillaRNN,
    SpikingVanillaRNNCell,
    bidirectional_rnn_cell_forward,
    directions,
)

pytestmark = pytest.mark.usefixtures("gates")

CELLS = {
    "lstm": (SpikingLSTMCell, 2),
    "gru": (SpikingGRUCell, 1),
    "vanilla": (SpikingVanillaRNNCell, 1),
}
NETS = {"lstm": SpikingLSTM, "gru": SpikingGRU, "vanilla": SpikingVanillaRNN}


def count(kind):
    return CELLS[kind][1]


@pytest.mark.parametrize("kind", list(CELLS))
@pytest.mark.parametrize("stacked", [False, True])
def test_against_the_oracle(kind, stacked, oracle):
    torch.manual_seed(0)
    cls, count = CELLS[kind]
    cells = cls(3, 4).double(), cls(3, 4).double()
    x = torch.randn(6, 2, 3, dtype=torch.float64, requires_grad=True)
    states = [torch.randn(count, 2, 4, dtype=torch.float64, requires_grad=True) for _ in cells]

    def form(s):
        return s if stacked else (tuple(s.unbind(0)) if count > 1 else s[0])

    y, ss, ss_r = bidirectional_rnn_cell_forward(*cells, x, *(form(s) for s in states))
    s = oracle.spike("Erf")
    parts = [
        oracle.sequence(kind, x, tuple(own), oracle.weights_of(cell), s, s, reverse=k == 1)
        for k, (cell, own) in enumerate(zip(cells, states, strict=True))
    ]
    y2 = torch.cat([parts[0][0], parts[1][0]], -1)
    torch.testing.assert_close(y, y2, rtol=1e-10, atol=1e-10)
    for got, (_, want) in zip((ss, ss_r), parts, strict=True):
        if stacked:
            assert got.shape == (count, 2, 4)
        elif count > 1:
            assert isinstance(got, tuple)
            got = torch.stack(got)
        else:
            got = got.unsqueeze(0)
        assert torch.equal(got, torch.stack(want))
    weight = torch.randn_like(y)
    inputs = [x, *states, *cells[0].parameters(), *cells[1].parameters()]
    a = torch.autograd.grad((y * weight).sum(), inputs)
    b = torch.autograd.grad((y2 * weight).sum(), inputs)
    for p, q in zip(a, b, strict=True):
        torch.testing.assert_close(p, q, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("kind", list(CELLS))
def test_no_states_means_zeros(kind):
    cls, count = CELLS[kind]
    cells = cls(3, 4), cls(3, 4)
    x = torch.randn(5, 2, 3)
    zero = torch.zeros(2, 4)
    zeros = (zero, zero) if count == 2 else zero
    a = bidirectional_rnn_cell_forward(*cells, x)
    b = bidirectional_rnn_cell_forward(*cells, x, zeros, zeros)
    assert torch.equal(a[0], b[0])
    assert type(a[1]) is type(b[1])


def test_cells_of_different_kind_and_size(oracle):
    torch.manual_seed(1)
    gru, rnn = SpikingGRUCell(3, 4).double(), SpikingVanillaRNNCell(3, 6).double()
    x = torch.randn(5, 2, 3, dtype=torch.float64)
    y, _, _ = bidirectional_rnn_cell_forward(gru, rnn, x)
    s = oracle.spike("Erf")
    zeros = [torch.zeros(2, n, dtype=torch.float64) for n in (4, 6)]
    a, _ = oracle.sequence("gru", x, (zeros[0],), oracle.weights_of(gru), s, s)
    b, _ = oracle.sequence("vanilla", x, (zeros[1],), oracle.weights_of(rnn), s, s, reverse=True)
    assert torch.equal(y, torch.cat([a, b], -1))


def test_empty_sequence_leaves_the_states():
    cells = SpikingGRUCell(3, 4), SpikingGRUCell(3, 4)
    h = torch.rand(2, 4)
    y, ss, ss_r = bidirectional_rnn_cell_forward(*cells, torch.rand(0, 2, 3), h, h)
    assert y.shape == (0, 2, 8)
    assert torch.equal(ss, h)
    assert torch.equal(ss_r, h)


def test_bad_states():
    cells = SpikingGRUCell(3, 4), SpikingGRUCell(3, 4)
    x, h = torch.rand(5, 2, 3), torch.zeros(2, 4)
    with pytest.raises(ValueError, match=r"`states_reverse` has shape \[2, 5\], expected \[2, 4\]"):
        bidirectional_rnn_cell_forward(*cells, x, h, torch.zeros(2, 5))
    with pytest.raises(ValueError, match=r"`states` has 2 state tensor\(s\), expected 1"):
        bidirectional_rnn_cell_forward(*cells, x, torch.zeros(2, 2, 4), h)
    with pytest.raises(ValueError, match="`x` has shape"):
        bidirectional_rnn_cell_forward(*cells, x[0], h, h)


@pytest.mark.parametrize("kind", list(CELLS))
@pytest.mark.parametrize("lengths", [None, [6, 3]])
def test_both_directions_at_once_equal_one_by_one(kind, lengths, monkeypatch):
    torch.manual_seed(2)
    net = NETS[kind](3, 4, 2, bidirectional=True).double()
    x = torch.randn(6, 2, 3, dtype=torch.float64, requires_grad=True)
    h0 = [torch.randn(4, 2, 4, dtype=torch.float64, requires_grad=True) for _ in range(count(kind))]
    inputs = [x, *h0, *net.parameters()]
    results, calls = [], []
    for at_once in (False, True):
        if at_once:

            def always(plans, cells, x):
                calls.append(directions.mergeable(plans, cells))
                return calls[-1]

            monkeypatch.setattr(directions, "run_at_once", always)
        y, h = net(x, h0, lengths=lengths)
        outs = [y, *([h] if isinstance(h, torch.Tensor) else h)]
        loss = sum((o * torch.arange(o.numel()).view_as(o).cos()).sum() for o in outs)
        results.append([*outs, *torch.autograd.grad(loss, inputs)])
    assert calls == [True, True]
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


def test_directions_that_differ_are_not_merged():
    x = torch.randn(3, 2, 3)

    def merged(*cells):
        plans = [directions.plan_of(c, x, k == 1) for k, c in enumerate(cells)]
        return directions.mergeable(plans, cells)

    assert merged(SpikingGRUCell(3, 4), SpikingGRUCell(3, 4))
    assert not merged(SpikingGRUCell(3, 4), SpikingGRUCell(3, 5))
    assert not merged(SpikingGRUCell(3, 4), SpikingGRUCell(3, 4, bias=False))
    assert not merged(SpikingGRUCell(3, 4), SpikingGRUCell(3, 4, True, surrogate.ATan()))
    assert not merged(SpikingLSTMCell(3, 4), SpikingLSTMCell(3, 4, clamp_cell=1.0))
    assert not merged(SpikingGRUCell(3, 4), SpikingVanillaRNNCell(3, 4))

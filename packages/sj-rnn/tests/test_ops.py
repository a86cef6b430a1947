"""The operators that torch.compile sees: opcheck, no graph break, the eager results."""

import pytest
import torch

from sj_core import surrogate
from sj_rnn import SpikingGRU, SpikingLSTM, SpikingVanillaRNN

NETS = {"lstm": SpikingLSTM, "gru": SpikingGRU, "vanilla": SpikingVanillaRNN}
KINDS = list(NETS)
ROWS = {"lstm": 4, "gru": 3, "vanilla": 1}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize("masked", [False, True])
def test_opcheck(kind, directions, masked):
    torch.manual_seed(0)
    steps, batch, inner, size = 3, 2, 3, 4
    lead = (2,) if directions == 2 else ()

    def leaf(*shape):
        return torch.randn(shape, requires_grad=True)

    rows = ROWS[kind] * size
    one = [(rows, inner), (rows, size), (rows,), (rows,)]
    weights = [leaf(*shape) for shape in one * directions]
    mask = None
    if masked:
        mask = torch.tensor([[True, True], [True, False], [False, False]]).unsqueeze(-1)
        mask = mask.expand(*lead, -1, -1, -1).clone()
    args = (
        *(kind, "ATan", [2.0], True, "Erf", [2.0], True, None, [False, True][:directions]),
        *(mask, leaf(steps, batch, inner), leaf(*lead, batch, size)),
        leaf(*lead, batch, size) if kind == "lstm" else None,
        weights,
    )
    torch.library.opcheck(torch.ops.sj_rnn.sequence.default, args)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bidirectional", [False, True])
def test_compiled_equals_eager(kind, bidirectional):
    torch._dynamo.reset()
    torch.manual_seed(1)
    net = NETS[kind](3, 4, 2, bidirectional=bidirectional).double()
    run = torch.compile(net, fullgraph=True, backend="aot_eager")
    for steps in (5, 6):
        x = torch.randn(steps, 2, 3, dtype=torch.float64, requires_grad=True)
        results = []
        for f in (net, run):
            y, h = f(x)
            last = h[0] if isinstance(h, tuple) else h
            loss = y.square().sum() + last.sum()
            results.append([y, *torch.autograd.grad(loss, [x, *net.parameters()])])
        for a, b in zip(*results, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


def test_compiled_with_lengths_and_states():
    torch._dynamo.reset()
    torch.manual_seed(2)
    net = SpikingLSTM(3, 4, 2, bidirectional=True, clamp_cell=1.0).double()
    run = torch.compile(net, fullgraph=True, backend="aot_eager")
    x = torch.randn(5, 2, 3, dtype=torch.float64)
    states = tuple(torch.randn(4, 2, 4, dtype=torch.float64) for _ in range(2))
    lengths = torch.tensor([5, 2])
    y, (h, c) = run(x, states, lengths)
    y2, (h2, c2) = net(x, states, lengths)
    assert torch.equal(y, y2)
    assert torch.equal(h, h2)
    assert torch.equal(c, c2)


def test_a_surrogate_of_one_s_own_compiles_too():
    class Half(surrogate.Erf):
        @staticmethod
        def derivative(x, alpha):
            return torch.full_like(x, 0.5)

    torch._dynamo.reset()
    net = SpikingVanillaRNN(3, 4, 1, surrogate_function=Half())
    x = torch.randn(3, 2, 3)
    run = torch.compile(net, fullgraph=True, backend="aot_eager")
    a = torch.autograd.grad(run(x)[0].sum(), list(net.parameters()))
    b = torch.autograd.grad(net(x)[0].sum(), list(net.parameters()))
    for p, q in zip(a, b, strict=True):
        torch.testing.assert_close(p, q)

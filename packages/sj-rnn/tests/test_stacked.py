"""Stacked networks against the oracle: outputs, states, gradients, layouts, dropout, lengths."""

import pytest
import torch
from torch import nn

from sj_core import surrogate
from sj_rnn import SpikingLSTM

pytestmark = pytest.mark.usefixtures("gates")

KINDS = ["lstm", "gru", "vanilla"]
TORCH = {"lstm": nn.LSTM, "gru": nn.GRU, "vanilla": nn.RNN}


def stacks_of(net, oracle):
    both = [net.cells] + ([net.cells_reverse] if net.bidirectional else [])
    return [[oracle.weights_of(cell) for cell in cells] for cells in both]


def assert_same(net, got, want, inputs):
    """Values equal, and gradients of a random projection of all of them equal to 1e-10."""
    for a, b in zip(got, want, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)
    weights = [torch.randn(a.shape, dtype=torch.float64) for a in got]
    a = torch.autograd.grad(sum((g * w).sum() for g, w in zip(got, weights, strict=True)), inputs)
    b = torch.autograd.grad(sum((g * w).sum() for g, w in zip(want, weights, strict=True)), inputs)
    for p, q in zip(a, b, strict=True):
        torch.testing.assert_close(p, q, rtol=1e-10, atol=1e-10)


CASES = [
    (kind, layers, bidirectional, bias)
    for kind in KINDS
    for layers in (1, 2, 3)
    for bidirectional in (False, True)
    for bias in (False, True)
]


@pytest.mark.parametrize("kind, layers, bidirectional, bias", CASES)
def test_outputs_states_and_gradients(kind, layers, bidirectional, bias, oracle, nets):
    torch.manual_seed(layers)
    net = nets.make(kind, 5, 6, layers, bias, 0, False, bidirectional).double()
    x = torch.randn(7, 3, 5, dtype=torch.float64, requires_grad=True)
    states = nets.states_of(kind, net, 3)
    y, ends = net(x, nets.as_argument(states))
    s = oracle.spike("Erf")
    y2, ends2 = oracle.network(kind, x, states, stacks_of(net, oracle), s, s)
    assert y.shape == (7, 3, 6 * (1 + bidirectional))
    inputs = [x, *states, *net.parameters()]
    assert_same(net, [y, *nets.as_list(ends)], [y2, *ends2], inputs)


SURROGATES = [
    "PiecewiseQuadratic",
    "PiecewiseExp",
    "Sigmoid",
    "SoftSign",
    "SuperSpike",
    "ATan",
    "NonzeroSignLogAbs",
    "Erf",
    "PiecewiseLeakyReLU",
    "SquarewaveFourierSeries",
    "S2NN",
    "QPseudoSpike",
    "LeakyKReLU",
    "FakeNumericalGradient",
    "LogTailedReLU",
    "Rect",
]


@pytest.mark.parametrize("name", SURROGATES)
@pytest.mark.parametrize("kind", KINDS)
def test_every_surrogate(kind, name, oracle, nets):
    torch.manual_seed(5)
    net = nets.make(kind, 4, 5, 2, name=name, bidirectional=True).double()
    x = 2 * torch.randn(6, 2, 4, dtype=torch.float64).requires_grad_()
    states = nets.states_of(kind, net, 2)
    y, ends = net(x, nets.as_argument(states))
    s = oracle.spike(name)
    y2, ends2 = oracle.network(kind, x, states, stacks_of(net, oracle), s, s)
    assert_same(net, [y, *nets.as_list(ends)], [y2, *ends2], [x, *states, *net.parameters()])


@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_two_surrogates(kind, oracle, nets):
    torch.manual_seed(6)
    net = nets.NETS[kind][0](
        4, 5, 2, surrogate_function1=surrogate.ATan(), surrogate_function2=surrogate.Rect()
    ).double()
    x = torch.randn(6, 2, 4, dtype=torch.float64, requires_grad=True)
    states = nets.states_of(kind, net, 2)
    y, ends = net(x, nets.as_argument(states))
    spikes = oracle.spike("ATan"), oracle.spike("Rect")
    y2, ends2 = oracle.network(kind, x, states, stacks_of(net, oracle), *spikes)
    assert_same(net, [y, *nets.as_list(ends)], [y2, *ends2], [x, *states, *net.parameters()])


@pytest.mark.parametrize("bidirectional", [False, True])
def test_clamped_lstm(bidirectional, oracle, nets):
    torch.manual_seed(7)
    net = SpikingLSTM(4, 5, 2, bidirectional=bidirectional, clamp_cell=1.5).double()
    x = torch.randn(9, 2, 4, dtype=torch.float64, requires_grad=True)
    states = nets.states_of("lstm", net, 2)
    y, ends = net(x, states)
    s = oracle.spike("Erf")
    y2, ends2 = oracle.network("lstm", x, states, stacks_of(net, oracle), s, s, clamp=1.5)
    assert ends[1].max() == 1.5
    assert_same(net, [y, *ends], [y2, *ends2], [x, *states, *net.parameters()])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bidirectional", [False, True])
def test_gradcheck_when_smooth(kind, bidirectional, nets):
    net = nets.make(kind, 2, 2, 2, bidirectional=bidirectional, name="Sigmoid").double()
    for module in net.modules():
        if isinstance(module, surrogate.SurrogateFunctionBase):
            module.spiking = False
    x = torch.randn(3, 2, 2, dtype=torch.float64, requires_grad=True)
    states = nets.states_of(kind, net, 2)
    count = len(states)

    def run(x, *rest):
        y, ends = net(x, nets.as_argument(rest[:count]))
        return (y, *nets.as_list(ends))

    assert torch.autograd.gradcheck(run, (x, *states, *net.parameters()))


class Tanh(nn.Module):
    def forward(self, x):
        return torch.tanh(x)


@pytest.mark.parametrize("kind", ["gru", "vanilla"])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("batch_first", [False, True])
def test_with_smooth_gates_it_is_torch_s(kind, bidirectional, batch_first, nets):
    torch.manual_seed(8)
    theirs = TORCH[kind](
        5, 6, 3, bidirectional=bidirectional, batch_first=batch_first, dtype=torch.float64
    )
    smooth = {
        "gru": {
            "surrogate_function1": surrogate.Sigmoid(1.0, spiking=False),
            "surrogate_function2": Tanh(),
        },
        "vanilla": {"surrogate_function": Tanh()},
    }[kind]
    ours = nets.NETS[kind][0].from_torch(theirs, **smooth)
    x = torch.randn(4, 7, 5, dtype=torch.float64)
    y, h = ours(x)
    y2, h2 = theirs(x)
    torch.testing.assert_close(y, y2)
    # torch interleaves the directions, here the forward rows stand first.
    order = list(range(0, len(h2), 2)) + list(range(1, len(h2), 2)) if bidirectional else [0, 1, 2]
    torch.testing.assert_close(h, h2[order])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bidirectional", [False, True])
def test_lengths(kind, bidirectional, oracle, nets):
    torch.manual_seed(9)
    lengths = [4, 6, 0, 1, 5]
    net = nets.make(kind, 3, 4, 2, bidirectional=bidirectional).double()
    x = torch.randn(6, 5, 3, dtype=torch.float64, requires_grad=True)
    states = nets.states_of(kind, net, 5)
    s = oracle.spike("Erf")
    stacks = stacks_of(net, oracle)
    inputs = [x, *states, *net.parameters()]
    for form in (lengths, torch.tensor(lengths), torch.tensor(lengths, dtype=torch.int32)):
        y2, ends2 = oracle.padded_network(kind, x, states, stacks, s, s, lengths)
        y, ends = net(x, nets.as_argument(states), lengths=form)
        assert_same(net, [y, *nets.as_list(ends)], [y2, *ends2], inputs)


@pytest.mark.parametrize("kind", KINDS)
def test_nan_in_the_padding_reaches_nothing(kind, nets):
    net = nets.make(kind, 3, 4, 2, bidirectional=True)
    x = torch.randn(5, 2, 3)
    x[3:, 1] = float("nan")
    x.requires_grad_()
    y, _ = net(x, lengths=[5, 3])
    y.sum().backward()
    assert y.isfinite().all()
    assert x.grad.isfinite().all()
    assert all(p.grad.isfinite().all() for p in net.parameters())


@pytest.mark.parametrize("kind", KINDS)
def test_layer_reads_the_layer_below_at_the_same_step(kind, nets):
    torch.manual_seed(16)
    net = nets.make(kind, 3, 4, 2)
    x = torch.zeros(2, 1, 3)
    x.requires_grad_()
    y, _ = net(x)
    # An output one step late would make y[0] independent of x[0].
    (grad,) = torch.autograd.grad(y[0].sum(), x)
    assert grad[0].abs().sum() > 0
    assert grad[1].abs().sum() == 0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bidirectional", [False, True])
def test_each_initial_state_row_reaches_its_layer(kind, bidirectional, nets):
    torch.manual_seed(11)
    net = nets.make(kind, 3, 8, 3, bidirectional=bidirectional, name="Sigmoid")
    rows = 3 * (1 + bidirectional)
    for row in range(rows):
        states = [torch.zeros(rows, 2, 8) for _ in range(nets.NETS[kind][1])]
        states = [s.requires_grad_() for s in states]
        _, ends = net(torch.randn(2, 2, 3), nets.as_argument(states))
        (grad,) = torch.autograd.grad(nets.as_list(ends)[0][row].sum(), [states[0]])
        assert grad[row].abs().sum() > 0


@pytest.mark.parametrize("kind", KINDS)
def test_running_on_from_a_state_is_the_whole_sequence(kind, nets):
    torch.manual_seed(12)
    net = nets.make(kind, 3, 4, 2)
    net = net.double()
    x = torch.randn(8, 2, 3, dtype=torch.float64)
    y, h = net(x)
    a, mid = net(x[:5])
    b, end = net(x[5:], mid)
    assert torch.equal(torch.cat([a, b]), y)
    for p, q in zip(nets.as_list(end), nets.as_list(h), strict=True):
        assert torch.equal(p, q)

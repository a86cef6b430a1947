"""Stacked networks against the oracle: outputs, states, gradients, layouts, dropout, lengths."""

import copy
import pickle

import pytest
import torch
from torch import nn

from sj_core import surrogate
from sj_rnn import SpikingGRU, SpikingGRUCell, SpikingLSTM, SpikingRNNBase, SpikingVanillaRNN

pytestmark = pytest.mark.usefixtures("gates")

NETS = {"lstm": (SpikingLSTM, 2), "gru": (SpikingGRU, 1), "vanilla": (SpikingVanillaRNN, 1)}
KINDS = list(NETS)
TORCH = {"lstm": nn.LSTM, "gru": nn.GRU, "vanilla": nn.RNN}
KEYWORD = {"vanilla": "surrogate_function"}


def make(kind, *args, name="Erf", **kwargs):
    surrogates = {KEYWORD.get(kind, "surrogate_function1"): getattr(surrogate, name)()}
    return NETS[kind][0](*args, **(surrogates | kwargs))


def stacks_of(net, oracle):
    both = [net.cells] + ([net.cells_reverse] if net.bidirectional else [])
    return [[oracle.weights_of(cell) for cell in cells] for cells in both]


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
def test_outputs_states_and_gradients(kind, layers, bidirectional, bias, oracle):
    torch.manual_seed(layers)
    net = make(kind, 5, 6, layers, bias, 0, False, bidirectional).double()
    x = torch.randn(7, 3, 5, dtype=torch.float64, requires_grad=True)
    states = states_of(kind, net, 3)
    y, ends = net(x, as_argument(states))
    s = oracle.spike("Erf")
    y2, ends2 = oracle.network(kind, x, states, stacks_of(net, oracle), s, s)
    assert y.shape == (7, 3, 6 * (1 + bidirectional))
    inputs = [x, *states, *net.parameters()]
    assert_same(net, [y, *as_list(ends)], [y2, *ends2], inputs)


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
def test_every_surrogate(kind, name, oracle):
    torch.manual_seed(5)
    net = make(kind, 4, 5, 2, name=name, bidirectional=True).double()
    x = 2 * torch.randn(6, 2, 4, dtype=torch.float64).requires_grad_()
    states = states_of(kind, net, 2)
    y, ends = net(x, as_argument(states))
    s = oracle.spike(name)
    y2, ends2 = oracle.network(kind, x, states, stacks_of(net, oracle), s, s)
    assert_same(net, [y, *as_list(ends)], [y2, *ends2], [x, *states, *net.parameters()])


@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_two_surrogates(kind, oracle):
    torch.manual_seed(6)
    net = NETS[kind][0](
        4, 5, 2, surrogate_function1=surrogate.ATan(), surrogate_function2=surrogate.Rect()
    ).double()
    x = torch.randn(6, 2, 4, dtype=torch.float64, requires_grad=True)
    states = states_of(kind, net, 2)
    y, ends = net(x, as_argument(states))
    spikes = oracle.spike("ATan"), oracle.spike("Rect")
    y2, ends2 = oracle.network(kind, x, states, stacks_of(net, oracle), *spikes)
    assert_same(net, [y, *as_list(ends)], [y2, *ends2], [x, *states, *net.parameters()])


@pytest.mark.parametrize("bidirectional", [False, True])
def test_clamped_lstm(bidirectional, oracle):
    torch.manual_seed(7)
    net = SpikingLSTM(4, 5, 2, bidirectional=bidirectional, clamp_cell=1.5).double()
    x = torch.randn(9, 2, 4, dtype=torch.float64, requires_grad=True)
    states = states_of("lstm", net, 2)
    y, ends = net(x, states)
    s = oracle.spike("Erf")
    y2, ends2 = oracle.network("lstm", x, states, stacks_of(net, oracle), s, s, clamp=1.5)
    assert ends[1].max() == 1.5
    assert_same(net, [y, *ends], [y2, *ends2], [x, *states, *net.parameters()])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bidirectional", [False, True])
def test_gradcheck_when_smooth(kind, bidirectional):
    net = make(kind, 2, 2, 2, bidirectional=bidirectional, name="Sigmoid").double()
    for module in net.modules():
        if isinstance(module, surrogate.SurrogateFunctionBase):
            module.spiking = False
    x = torch.randn(3, 2, 2, dtype=torch.float64, requires_grad=True)
    states = states_of(kind, net, 2)
    count = len(states)

    def run(x, *rest):
        y, ends = net(x, as_argument(rest[:count]))
        return (y, *as_list(ends))

    assert torch.autograd.gradcheck(run, (x, *states, *net.parameters()))


class Tanh(nn.Module):
    def forward(self, x):
        return torch.tanh(x)


@pytest.mark.parametrize("kind", ["gru", "vanilla"])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("batch_first", [False, True])
def test_with_smooth_gates_it_is_torch_s(kind, bidirectional, batch_first):
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
    ours = NETS[kind][0].from_torch(theirs, **smooth)
    x = torch.randn(4, 7, 5, dtype=torch.float64)
    y, h = ours(x)
    y2, h2 = theirs(x)
    torch.testing.assert_close(y, y2)
    # torch interleaves the directions, here the forward rows stand first.
    order = list(range(0, len(h2), 2)) + list(range(1, len(h2), 2)) if bidirectional else [0, 1, 2]
    torch.testing.assert_close(h, h2[order])


@pytest.mark.parametrize("kind", KINDS)
def test_from_torch_takes_every_weight_and_setting(kind):
    theirs = TORCH[kind](3, 4, 2, bias=False, dropout=0.25, bidirectional=True, batch_first=True)
    ours = NETS[kind][0].from_torch(theirs.eval())
    assert (ours.bias, ours.dropout_p, ours.bidirectional, ours.batch_first, ours.training) == (
        False,
        0.25,
        True,
        True,
        False,
    )
    for layer in range(2):
        for suffix, cells in (("", ours.cells), ("_reverse", ours.cells_reverse)):
            for which in ("ih", "hh"):
                source = getattr(theirs, f"weight_{which}_l{layer}{suffix}")
                assert torch.equal(getattr(cells[layer], f"weight_{which}")(), source)
                assert getattr(cells[layer], f"weight_{which}")() is not source
    assert NETS[kind][0].from_torch(theirs, dropout_p=0.5).dropout_p == 0.5


def test_from_torch_refuses_others():
    with pytest.raises(TypeError, match="is a GRU, but SpikingLSTM takes LSTM"):
        SpikingLSTM.from_torch(nn.GRU(2, 3))
    with pytest.raises(ValueError, match="proj_size=2"):
        SpikingLSTM.from_torch(nn.LSTM(2, 3, proj_size=2))
    with pytest.raises(TypeError, match="`proj_size` is not offered"):
        SpikingLSTM(2, 3, 1, proj_size=2)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bidirectional", [False, True])
def test_lengths(kind, bidirectional, oracle):
    torch.manual_seed(9)
    lengths = [4, 6, 0, 1, 5]
    net = make(kind, 3, 4, 2, bidirectional=bidirectional).double()
    x = torch.randn(6, 5, 3, dtype=torch.float64, requires_grad=True)
    states = states_of(kind, net, 5)
    s = oracle.spike("Erf")
    stacks = stacks_of(net, oracle)
    inputs = [x, *states, *net.parameters()]
    for form in (lengths, torch.tensor(lengths), torch.tensor(lengths, dtype=torch.int32)):
        y2, ends2 = oracle.padded_network(kind, x, states, stacks, s, s, lengths)
        y, ends = net(x, as_argument(states), lengths=form)
        assert_same(net, [y, *as_list(ends)], [y2, *ends2], inputs)


@pytest.mark.parametrize("kind", KINDS)
def test_nan_in_the_padding_reaches_nothing(kind):
    net = make(kind, 3, 4, 2, bidirectional=True)
    x = torch.randn(5, 2, 3)
    x[3:, 1] = float("nan")
    x.requires_grad_()
    y, _ = net(x, lengths=[5, 3])
    y.sum().backward()
    assert y.isfinite().all()
    assert x.grad.isfinite().all()
    assert all(p.grad.isfinite().all() for p in net.parameters())


@pytest.mark.parametrize("kind", KINDS)
def test_batch_first_only_swaps_axes(kind):
    torch.manual_seed(10)
    net = make(kind, 3, 4, 2)
    x = torch.randn(5, 2, 3)
    y, h = net(x, lengths=[5, 2])
    net.batch_first = True
    y2, h2 = net(x.transpose(0, 1), lengths=[5, 2])
    assert torch.equal(y, y2.transpose(0, 1))
    assert torch.equal(as_list(h)[0], as_list(h2)[0])


@pytest.mark.parametrize("kind", KINDS)
def test_layer_reads_the_layer_below_at_the_same_step(kind):
    torch.manual_seed(16)
    net = make(kind, 3, 4, 2)
    x = torch.zeros(2, 1, 3)
    x.requires_grad_()
    y, _ = net(x)
    # An output one step late would make y[0] independent of x[0].
    (grad,) = torch.autograd.grad(y[0].sum(), x)
    assert grad[0].abs().sum() > 0
    assert grad[1].abs().sum() == 0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bidirectional", [False, True])
def test_each_initial_state_row_reaches_its_layer(kind, bidirectional):
    torch.manual_seed(11)
    net = make(kind, 3, 8, 3, bidirectional=bidirectional, name="Sigmoid")
    rows = 3 * (1 + bidirectional)
    for row in range(rows):
        states = [torch.zeros(rows, 2, 8) for _ in range(NETS[kind][1])]
        states = [s.requires_grad_() for s in states]
        _, ends = net(torch.randn(2, 2, 3), as_argument(states))
        (grad,) = torch.autograd.grad(as_list(ends)[0][row].sum(), [states[0]])
        assert grad[row].abs().sum() > 0


@pytest.mark.parametrize("kind", KINDS)
def test_running_on_from_a_state_is_the_whole_sequence(kind):
    torch.manual_seed(12)
    net = make(kind, 3, 4, 2)
    net = net.double()
    x = torch.randn(8, 2, 3, dtype=torch.float64)
    y, h = net(x)
    a, mid = net(x[:5])
    b, end = net(x[5:], mid)
    assert torch.equal(torch.cat([a, b]), y)
    for p, q in zip(as_list(end), as_list(h), strict=True):
        assert torch.equal(p, q)


@pytest.mark.parametrize("kind", KINDS)
def test_dropout_after_every_layer_but_the_last(kind):
    torch.manual_seed(13)
    net = make(kind, 3, 4, 3, dropout_p=1.0)
    # All dropped: layers 2 and 3 see zeros whatever x is, and the last output is not dropped.
    seen = []
    for cell in net.cells:
        cell.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    net(torch.randn(2, 5, 3))
    zero = [bool((x == 0).all()) for x in seen]
    assert sorted(zero) == [False] * 2 + [True] * 4
    net.eval()
    seen.clear()
    net(torch.randn(2, 5, 3))
    assert len(seen) == 6


def collect_inputs(net, x):
    """Inputs ``[T, N, *]`` that the second layer saw."""
    seen = []
    handle = net.cells[1].register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    net(x)
    handle.remove()
    return torch.stack(seen)


@pytest.mark.parametrize("invariant", [False, True])
def test_dropout_masks_over_time(invariant):
    torch.manual_seed(14)
    p = 0.5
    net = SpikingVanillaRNN(3, 200, 2, True, p, invariant)
    for parameter in net.cells[0].parameters():
        nn.init.constant_(parameter, 1.0)  # every unit fires at every step
    x = torch.ones(6, 4, 3)
    seen = collect_inputs(net, x)
    assert set(seen.unique().tolist()) == {0.0, 2.0}  # inverted dropout: 1/(1-p)
    assert abs((seen == 0).float().mean().item() - p) < 0.06
    same = all(torch.equal(seen[t], seen[0]) for t in range(1, 6))
    assert same is invariant
    assert not torch.equal(seen[:, 0], seen[:, 1])  # sequences of a batch have their own
    assert not torch.equal(collect_inputs(net, x)[0], seen[0])  # new for each forward
    net.eval()
    assert collect_inputs(net, x).eq(1).all()


@pytest.mark.parametrize("kind", KINDS)
def test_no_surrogate_is_shared_between_cells(kind):
    given = surrogate.ATan()
    net = NETS[kind][0](
        3, 4, 3, bidirectional=True, **{KEYWORD.get(kind, "surrogate_function1"): given}
    )
    attribute = KEYWORD.get(kind, "surrogate_function1")
    own = [getattr(c, attribute) for c in [*net.cells, *net.cells_reverse]]
    assert len({id(s) for s in own}) == 6
    assert given not in own
    assert all(isinstance(s, surrogate.ATan) for s in own)


def test_keys_of_the_parameters():
    net = SpikingLSTM(3, 4, 2, bidirectional=True)
    assert "cells.0.linear_ih.weight" in net.state_dict()
    assert "cells_reverse.1.linear_hh.bias" in net.state_dict()
    assert net.cells[1].weight_ih().shape == (16, 8)
    assert isinstance(net.cells, nn.Sequential)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_dtypes(kind, dtype):
    net = make(kind, 3, 4, 2, bidirectional=True).to(dtype)
    y, h = net(torch.randn(3, 2, 3).to(dtype))
    assert y.dtype == dtype
    assert all(s.dtype == dtype for s in as_list(h))
    y.sum().backward()
    assert all(p.grad.dtype == dtype for p in net.parameters())


@pytest.mark.parametrize("kind", KINDS)
def test_autocast(kind):
    net = make(kind, 3, 4, 2, bidirectional=True)
    x = torch.randn(3, 2, 3, requires_grad=True)
    states = states_of(kind, net, 2, torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y, h = net(x, as_argument(states))
        y2, _ = net(x, h)
    assert y.dtype == y2.dtype == torch.bfloat16
    y2.float().sum().backward()
    assert x.grad.dtype == torch.float32
    assert all(p.grad.dtype == torch.float32 for p in net.parameters())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert net.double()(x.double())[0].dtype == torch.float64


@pytest.mark.parametrize("kind", KINDS)
def test_empty_sequences_and_batches(kind):
    net = make(kind, 3, 4, 2, bidirectional=True)
    states = states_of(kind, net, 2, torch.float32)
    y, h = net(torch.randn(0, 2, 3), as_argument(states))
    assert y.shape == (0, 2, 8)
    assert all(torch.equal(a, b) for a, b in zip(as_list(h), states, strict=True))
    y, h = net(torch.randn(5, 0, 3))
    assert y.shape == (5, 0, 8)
    assert as_list(h)[0].shape == (4, 0, 4)


@pytest.mark.parametrize("kind", KINDS)
def test_deepcopy_and_pickle_after_a_training_forward(kind):
    net = make(kind, 3, 4, 2)
    x = torch.randn(3, 2, 3)
    y, _ = net(x)
    y.sum().backward()
    for other in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert torch.equal(other(x)[0], y)


@pytest.mark.parametrize("kind", KINDS)
def test_bad_states_name_got_and_expected(kind):
    net = make(kind, 3, 4, 2, bidirectional=True)
    count = NETS[kind][1]
    x = torch.randn(5, 2, 3)

    def states(*shape, n=count, dtype=None):
        return tuple(torch.zeros(shape, dtype=dtype) for _ in range(n))

    for shape in ((3, 2, 4), (4, 3, 4), (4, 2, 5), (4, 1, 4)):
        message = rf"has shape \[{shape[0]}, {shape[1]}, {shape[2]}\], expected \[4, 2, 4\]"
        with pytest.raises(ValueError, match=message):
            net(x, states(*shape))
    with pytest.raises(ValueError, match=rf"{count + 1} state tensor\(s\), expected {count}"):
        net(x, states(4, 2, 4, n=count + 1))
    with pytest.raises(TypeError, match=r"torch\.float64"):
        net(x, states(4, 2, 4, dtype=torch.float64))
    net(x, list(states(4, 2, 4)))


def test_bad_input():
    net = SpikingGRU(3, 4, 2)
    with pytest.raises(ValueError, match=r"`x` has shape \[2, 3\], expected \[T, N, input_size\]"):
        net(torch.randn(2, 3))
    with pytest.raises(ValueError, match=r"`x` has shape \[5, 2, 4\]"):
        net(torch.randn(5, 2, 4))
    x = torch.randn(5, 2, 3)
    with pytest.raises(ValueError, match=r"`lengths` has shape \[3\], expected \[2\]"):
        net(x, lengths=[1, 2, 3])
    for bad in ([6, 1], [-1, 2]):
        with pytest.raises(ValueError, match=r"must lie between 0 and the 5 steps"):
            net(x, lengths=bad)
    with pytest.raises(TypeError, match="expected integers"):
        net(x, lengths=[1.0, 2.0])
    with pytest.raises(ValueError, match="`dropout_p`"):
        SpikingGRU(3, 4, 1, dropout_p=1.5)
    with pytest.raises(ValueError, match="`num_layers`"):
        SpikingGRU(3, 4, 0)


def test_a_network_of_one_s_own_cell():
    class Halving(SpikingGRUCell):
        def forward(self, x, h=None):
            return super().forward(x, h) / 2

    class HalvingNet(SpikingRNNBase):
        @staticmethod
        def base_cell():
            return Halving

    torch.manual_seed(15)
    net = HalvingNet(3, 4, 1)
    x = torch.randn(4, 2, 3)
    h = torch.zeros(2, 4)
    want = []
    for t in range(4):
        h = net.cells[0](x[t], h)
        want.append(h)
    y, last = net(x)
    assert torch.equal(y, torch.stack(want))
    assert torch.equal(last[0], h)
    with pytest.raises(NotImplementedError, match="base_cell"):
        SpikingRNNBase(3, 4, 1)

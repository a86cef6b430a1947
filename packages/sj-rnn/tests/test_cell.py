"""The cells: parameters, states, equations and gradients against the oracle, bad input."""

import copy
import pickle

import pytest
import torch
from torch import nn

from sj_core import surrogate
from sj_rnn import SpikingGRUCell, SpikingLSTMCell, SpikingRNNCellBase, SpikingVanillaRNNCell

CELLS = {
    "lstm": (SpikingLSTMCell, 4, 2),
    "gru": (SpikingGRUCell, 3, 1),
    "vanilla": (SpikingVanillaRNNCell, 1, 1),
}
KINDS = list(CELLS)


def first(out):
    return out if isinstance(out, torch.Tensor) else out[0]


@pytest.mark.parametrize("kind", KINDS)
def test_parameters(kind):
    cls, gates, _ = CELLS[kind]
    torch.manual_seed(0)
    cell = cls(30, 100)
    assert cell.weight_ih().shape == (gates * 100, 30)
    assert cell.weight_hh().shape == (gates * 100, 100)
    assert cell.bias_ih().shape == cell.bias_hh().shape == (gates * 100,)
    assert list(cell.state_dict()) == [
        "linear_ih.weight",
        "linear_ih.bias",
        "linear_hh.weight",
        "linear_hh.bias",
    ]
    for parameter in cell.parameters():
        # U(-0.1, 0.1): bounds, mean and variance.
        assert parameter.abs().max() <= 0.1
        assert parameter.abs().max() > 0.09
        assert parameter.mean().abs() < 0.02
        assert abs(parameter.var().item() - 0.01 / 3) < 1e-3
    bare = cls(30, 100, bias=False)
    assert bare.bias_ih() is None
    assert bare.bias_hh() is None


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("name", ["Erf", "ATan", "Sigmoid", "PiecewiseLeakyReLU"])
def test_three_steps_and_gradients(kind, bias, name, oracle):
    cls, _, count = CELLS[kind]
    torch.manual_seed(1)
    cell = cls(5, 7, bias, getattr(surrogate, name)()).double()
    xs = torch.randn(3, 4, 5, dtype=torch.float64, requires_grad=True)
    states = [torch.randn(4, 7, dtype=torch.float64, requires_grad=True) for _ in range(count)]
    s = oracle.spike(name)
    got, want = tuple(states), tuple(states)
    for x in xs:
        out = cell(x, got if count == 2 else got[0])
        got = out if count == 2 else (out,)
        want = oracle.step(kind, x, want, oracle.weights_of(cell), s, s)
    for a, b in zip(got, want, strict=True):
        assert torch.equal(a, b)
    inputs = [xs, *states, *cell.parameters()]
    weight = torch.randn(4, 7, dtype=torch.float64)
    a = torch.autograd.grad(sum((g * weight).sum() for g in got), inputs)
    b = torch.autograd.grad(sum((g * weight).sum() for g in want), inputs)
    for p, q in zip(a, b, strict=True):
        torch.testing.assert_close(p, q, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_second_surrogate_is_the_candidate_s(kind, oracle):
    cls, _, count = CELLS[kind]
    cell = cls(3, 4, True, surrogate.ATan(), surrogate.Rect()).double()
    x = torch.randn(5, 3, dtype=torch.float64)
    states = [torch.randn(5, 4, dtype=torch.float64) for _ in range(count)]
    out = first(cell(x, states if count == 2 else states[0]))
    args = (oracle.weights_of(cell), oracle.spike("ATan"), oracle.spike("Rect"))
    want = oracle.step(kind, x, states, *args)[0]
    a = torch.autograd.grad(out.sum(), list(cell.parameters()))
    b = torch.autograd.grad(want.sum(), list(cell.parameters()))
    for p, q in zip(a, b, strict=True):
        torch.testing.assert_close(p, q, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("kind", KINDS)
def test_gradcheck_when_smooth(kind):
    cls, _, count = CELLS[kind]
    cell = cls(3, 2, True, surrogate.Sigmoid(spiking=False)).double()
    x = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)
    states = [torch.randn(2, 2, dtype=torch.float64, requires_grad=True) for _ in range(count)]

    def run(x, *rest):
        return cell(x, rest[:count] if count == 2 else rest[0])

    assert torch.autograd.gradcheck(run, (x, *states, *cell.parameters()))


class Tanh(nn.Module):
    def forward(self, x):
        return torch.tanh(x)


def test_smooth_gates_are_torch_s_gru_and_rnn():
    torch.manual_seed(2)
    x, h = torch.randn(6, 5, dtype=torch.float64), torch.randn(6, 4, dtype=torch.float64)
    gru = nn.GRUCell(5, 4, dtype=torch.float64)
    ours = SpikingGRUCell.from_torch(
        gru, surrogate_function1=surrogate.Sigmoid(1.0, spiking=False), surrogate_function2=Tanh()
    )
    torch.testing.assert_close(ours(x, h), gru(x, h))
    rnn = nn.RNNCell(5, 4, dtype=torch.float64)
    ours = SpikingVanillaRNNCell.from_torch(rnn, surrogate_function=Tanh())
    torch.testing.assert_close(ours(x, h), rnn(x, h))


def test_smooth_lstm_is_torch_s_but_for_the_last_tanh():
    torch.manual_seed(3)
    x = torch.randn(6, 5, dtype=torch.float64)
    h, c = torch.randn(2, 6, 4, dtype=torch.float64)
    lstm = nn.LSTMCell(5, 4, dtype=torch.float64)
    ours = SpikingLSTMCell.from_torch(
        lstm, surrogate_function1=surrogate.Sigmoid(1.0, spiking=False), surrogate_function2=Tanh()
    )
    h1, c1 = ours(x, (h, c))
    h2, c2 = lstm(x, (h, c))
    torch.testing.assert_close(c1, c2)
    torch.testing.assert_close(h1 / c1 * torch.tanh(c1), h2)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_default_states_have_the_input_s_dtype(kind, dtype):
    cls, _, count = CELLS[kind]
    cell = cls(3, 4, dtype=dtype)
    out = cell(torch.randn(2, 3).to(dtype))
    outs = out if count == 2 else (out,)
    assert [o.dtype for o in outs] == [dtype] * count
    assert [tuple(o.shape) for o in outs] == [(2, 4)] * count


@pytest.mark.parametrize("kind", KINDS)
def test_autocast_runs_in_its_dtype(kind):
    cls, _, count = CELLS[kind]
    cell = cls(3, 4)
    state = torch.zeros(2, 4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = first(cell(torch.randn(2, 3), (state, state) if count == 2 else state))
        assert out.dtype == torch.bfloat16
    out.float().sum().backward()
    assert all(p.grad.dtype == torch.float32 for p in cell.parameters())


def test_no_surrogate_is_shared_between_cells():
    a, b = SpikingLSTMCell(2, 3), SpikingLSTMCell(2, 3)
    assert a.surrogate_function1 is not b.surrogate_function1
    assert a.surrogate_function2 is None
    assert isinstance(a.surrogate_function1, surrogate.Erf)
    a.surrogate_function1.spiking = False
    assert b.surrogate_function1.spiking


@pytest.mark.parametrize("kind", KINDS)
def test_deepcopy_and_pickle(kind):
    cls, _, _ = CELLS[kind]
    cell = cls(3, 4)
    x = torch.randn(2, 3)
    first(cell(x)).sum().backward()
    for other in (copy.deepcopy(cell), pickle.loads(pickle.dumps(cell))):
        assert torch.equal(first(other(x)), first(cell(x)))
        assert other.weight_ih() is not cell.weight_ih()


@pytest.mark.parametrize("kind", KINDS)
def test_compiles_without_a_graph_break(kind):
    cell = CELLS[kind][0](3, 4)
    run = torch.compile(cell, fullgraph=True, backend="aot_eager")
    x = torch.randn(2, 3)
    assert torch.equal(first(run(x)), first(cell(x)))


def test_states_of_the_lstm_may_be_stacked_or_a_list():
    cell = SpikingLSTMCell(3, 4)
    x, hc = torch.randn(2, 3), torch.rand(2, 2, 4)
    want = cell(x, (hc[0], hc[1]))
    for form in (hc, [hc[0], hc[1]]):
        for a, b in zip(cell(x, form), want, strict=True):
            assert torch.equal(a, b)


@pytest.mark.parametrize("kind", KINDS)
def test_bad_input(kind):
    cls, _, count = CELLS[kind]
    cell = cls(3, 4)
    x = torch.randn(2, 3)

    def states(*shape, dtype=None):
        s = torch.zeros(shape, dtype=dtype)
        return (s, s) if count == 2 else s

    with pytest.raises(ValueError, match=r"`x` has shape \[2, 5\].*input_size=3"):
        cell(torch.randn(2, 5))
    with pytest.raises(ValueError, match=r"`x` has shape \[3\]"):
        cell(torch.randn(3))
    with pytest.raises(TypeError, match="floating-point"):
        cell(torch.ones(2, 3, dtype=torch.long))
    with pytest.raises(TypeError, match="`x` must be a tensor"):
        cell([1.0, 2.0])
    with pytest.raises(ValueError, match=r"has shape \[3, 4\], expected \[2, 4\]"):
        cell(x, states(3, 4))
    with pytest.raises(ValueError, match=r"has shape \[2, 5\], expected \[2, 4\]"):
        cell(x, states(2, 5))
    with pytest.raises(TypeError, match=r"torch\.float64, but `x` has torch\.float32"):
        cell(x, states(2, 4, dtype=torch.float64))
    for bad in (0, -1):
        with pytest.raises(ValueError, match="must be at least 1"):
            cls(3, bad)
    with pytest.raises(TypeError, match="must be an int"):
        cls(3.0, 4)
    with pytest.raises(TypeError, match="must be a surrogate function"):
        cls(3, 4, True, 1.0)


def test_lstm_wants_two_states_and_a_positive_clamp():
    cell = SpikingLSTMCell(3, 4)
    with pytest.raises(ValueError, match=r"1 state tensor\(s\), expected 2"):
        cell(torch.randn(2, 3), torch.zeros(2, 4))
    with pytest.raises(ValueError, match="`clamp_cell`"):
        SpikingLSTMCell(3, 4, clamp_cell=0)


def test_a_cell_of_one_s_own_needs_two_lines():
    class Leaky(SpikingRNNCellBase):
        def forward(self, x, h=None):
            x, (h,) = self.prepare(x, h, "h")
            return 0.5 * h + self.linear_ih(x) + self.linear_hh(h)

    cell = Leaky(3, 4)
    x = torch.randn(2, 3)
    h = cell(x)
    torch.testing.assert_close(h, x @ cell.weight_ih().T + cell.bias_ih() + cell.bias_hh())
    assert cell(x, h).shape == (2, 4)

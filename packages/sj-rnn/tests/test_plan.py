"""When a sequence runs as one function, and that it never matters for the result."""

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from sj_core import surrogate
from sj_rnn import (
    SpikingGRU,
    SpikingGRUCell,
    SpikingLSTM,
    SpikingLSTMCell,
    SpikingVanillaRNN,
    SpikingVanillaRNNCell,
)
from sj_rnn.plan import plan_of

CELLS = {"lstm": SpikingLSTMCell, "gru": SpikingGRUCell, "vanilla": SpikingVanillaRNNCell}
NETS = {"lstm": SpikingLSTM, "gru": SpikingGRU, "vanilla": SpikingVanillaRNN}
X = torch.randn(2, 2, 3)


@pytest.mark.parametrize("kind", list(CELLS))
def test_an_ordinary_cell_has_a_plan(kind):
    plan = plan_of(CELLS[kind](3, 4), X, reverse=True)
    assert (plan.kind, plan.reverse, plan.s1.name) == (kind, (True,), "Erf")

    class Named(CELLS[kind]):
        """A subclass that leaves the step as it is."""

    assert plan_of(Named(3, 4), X, reverse=False).kind == kind


def own_forward(cell):
    class Own(type(cell)):
        def forward(self, x, states=None):
            return super().forward(x, states)

    return Own(3, 4)


def with_hook(cell):
    cell.register_forward_hook(lambda *args: None)
    return cell


def with_linear_hook(cell):
    cell.linear_hh.register_forward_pre_hook(lambda *args: None)
    return cell


def with_backward_hook(cell):
    cell.linear_ih.register_full_backward_hook(lambda *args: None)
    return cell


def with_own_linear(cell):
    class Doubled(nn.Linear):
        def forward(self, x):
            return 2 * super().forward(x)

    cell.linear_ih = Doubled(3, cell.gates * 4)
    return cell


def with_other_spikes(cell):
    name = "surrogate_function" if cell.gates == 1 else "surrogate_function1"
    setattr(cell, name, nn.Sigmoid())
    return cell


def with_replaced_forward(cell):
    original = cell.forward
    cell.forward = lambda *args: original(*args)
    return cell


@pytest.mark.parametrize(
    "change",
    [
        own_forward,
        with_hook,
        with_linear_hook,
        with_backward_hook,
        with_own_linear,
        with_other_spikes,
        with_replaced_forward,
    ],
)
@pytest.mark.parametrize("kind", list(CELLS))
def test_others_run_their_own_forward(kind, change):
    assert plan_of(change(CELLS[kind](3, 4)), X, reverse=False) is None


@pytest.mark.parametrize("kind", list(CELLS))
def test_a_default_device_does_not_take_the_plan_away(kind):
    cell = CELLS[kind](3, 4)
    assert plan_of(cell, X, reverse=False) is not None
    with torch.device("cpu"):
        assert plan_of(cell, X, reverse=False) is not None


def test_a_tensor_of_another_class_runs_step_by_step():
    class Own(torch.Tensor):
        pass

    cell = CELLS["gru"](3, 4)
    assert plan_of(cell, X.as_subclass(Own), reverse=False) is None


@pytest.mark.parametrize("kind", list(CELLS))
def test_an_exported_network_takes_any_number_of_steps_and_sequences(kind):
    torch.manual_seed(0)
    net = NETS[kind](3, 4, 2, bidirectional=True).double()
    x = torch.randn(5, 2, 3, dtype=torch.float64)
    sizes = {0: torch.export.Dim("t", min=2, max=64), 1: torch.export.Dim("n", min=2, max=64)}
    program = torch.export.export(net, (x,), dynamic_shapes=(sizes,), strict=False).module()
    longer = torch.randn(9, 4, 3, dtype=torch.float64)
    with torch.no_grad():
        assert torch.equal(program(longer)[0], net(longer)[0])


@pytest.mark.parametrize("kind", list(CELLS))
def test_hooks_see_every_step_and_change_nothing(kind):
    torch.manual_seed(0)
    net = NETS[kind](3, 4, 2).double()
    x = torch.randn(5, 2, 3, dtype=torch.float64, requires_grad=True)
    plain = net(x)[0]
    wanted = torch.autograd.grad(plain.sum(), [x, *net.parameters()])
    calls = []
    net.cells[0].register_forward_hook(lambda *args: calls.append(1))
    watched = net(x)[0]
    assert len(calls) == 5
    torch.testing.assert_close(plain, watched)
    for a, b in zip(
        torch.autograd.grad(watched.sum(), [x, *net.parameters()]), wanted, strict=True
    ):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


def test_a_parametrised_weight_gets_its_gradient():
    torch.manual_seed(1)
    net = SpikingGRU(3, 4, 1).double()
    parametrizations.weight_norm(net.cells[0].linear_hh)
    x = torch.randn(5, 2, 3, dtype=torch.float64)
    assert plan_of(net.cells[0], x, reverse=False) is not None
    y, _ = net(x)
    got = torch.autograd.grad(y.sum(), list(net.parameters()))
    net.cells[0].register_forward_hook(lambda *args: None)
    y2, _ = net(x)
    assert torch.equal(y, y2)
    for a, b in zip(got, torch.autograd.grad(y2.sum(), list(net.parameters())), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("kind", list(CELLS))
def test_transforms_of_torch_func(kind):
    torch.manual_seed(2)
    net = NETS[kind](3, 4, 2).double()
    x = torch.randn(6, 3, 3, dtype=torch.float64)
    params = dict(net.named_parameters())

    def loss(params, x):
        return torch.func.functional_call(net, params, (x,))[0].square().sum()

    got = torch.func.grad(loss)(params, x)
    want = torch.autograd.grad(net(x)[0].square().sum(), list(net.parameters()))
    for a, b in zip(got.values(), want, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)
    # Per-sample gradients add up to that of the batch.
    each = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 1))(params, x.unsqueeze(2))
    for a, b in zip(each.values(), want, strict=True):
        torch.testing.assert_close(a.sum(0), b, rtol=1e-9, atol=1e-9)


def test_smooth_plans_follow_the_switch():
    cell = SpikingLSTMCell(3, 4, surrogate_function2=surrogate.ATan())
    cell.surrogate_function2.spiking = False
    plan = plan_of(cell, X, reverse=False)
    assert plan.s1.spiking
    assert not plan.s2.spiking

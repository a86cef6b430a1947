"""The whole-sequence function: partial gradients, what it keeps, second derivatives, safety."""

import gc

import pytest
import torch

from sj_core import surrogate
from sj_rnn import SpikingGRU, SpikingLSTM, SpikingVanillaRNN

pytestmark = pytest.mark.usefixtures("gates")

NETS = {
    "lstm": (SpikingLSTM, 2, 4),
    "gru": (SpikingGRU, 1, 3),
    "vanilla": (SpikingVanillaRNN, 1, 1),
}
KINDS = list(NETS)


def as_list(states):
    return [states] if isinstance(states, torch.Tensor) else list(states)


def by_steps(net):
    """Make every cell run its own forward at each step."""
    for cell in [*net.cells, *getattr(net, "cells_reverse", [])]:
        cell.register_forward_hook(lambda *args: None)
    return net


def twins(kind, *args, **kwargs):
    cls = NETS[kind][0]
    torch.manual_seed(0)
    a = cls(*args, **kwargs).double()
    b = cls(*args, **kwargs).double()
    b.load_state_dict(a.state_dict())
    return a, by_steps(b)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("which", range(3))
@pytest.mark.parametrize("lengths", [None, [5, 2, 3]])
def test_gradient_of_one_output_alone(kind, which, lengths):
    if which > NETS[kind][1]:
        return
    results = []
    x = torch.randn(5, 3, 4, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(3, 6, dtype=torch.float64)
    for net in twins(kind, 4, 6, 2):
        y, ends = net(x, lengths=lengths)
        out = [y, *as_list(ends)][which]
        loss = (out * weight).sum()
        results.append(torch.autograd.grad(loss, [x, *net.parameters()], allow_unused=True))
    for a, b in zip(*results, strict=True):
        if b is not None:
            torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)
        else:
            assert a is None or (a == 0).all()


@pytest.mark.parametrize("kind", KINDS)
def test_frozen_parts_get_no_gradient_and_disturb_no_other(kind):
    a, b = twins(kind, 4, 6, 2)
    x = torch.randn(5, 3, 4, dtype=torch.float64)
    for net in (a, b):
        for parameter in net.cells[0].parameters():
            parameter.requires_grad_(False)
        net(x)[0].sum().backward()
    assert all(p.grad is None for p in a.cells[0].parameters())
    for p, q in zip(a.cells[1].parameters(), b.cells[1].parameters(), strict=True):
        torch.testing.assert_close(p.grad, q.grad, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("kind", KINDS)
def test_only_the_input_wants_a_gradient(kind):
    a, b = twins(kind, 4, 6, 2)
    x = torch.randn(5, 3, 4, dtype=torch.float64, requires_grad=True)
    grads = []
    for net in (a, b):
        net.requires_grad_(False)
        grads.append(torch.autograd.grad(net(x)[0].sum(), x)[0])
    torch.testing.assert_close(*grads, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_share_no_memory(kind):
    net = NETS[kind][0](4, 6, 2, bidirectional=True)
    net(torch.randn(5, 3, 4))[0].sum().backward()
    places = [p.grad.data_ptr() for p in net.parameters()]
    assert len(set(places)) == len(places)
    for p in net.parameters():
        assert p.grad.is_contiguous()


@pytest.mark.parametrize("kind", KINDS)
def test_second_derivatives_when_smooth(kind):
    name = "surrogate_function" if kind == "vanilla" else "surrogate_function1"
    smooth = surrogate.Sigmoid(spiking=False)
    net = NETS[kind][0](2, 2, 1, bidirectional=True, **{name: smooth}).double()
    x = torch.randn(2, 2, 2, dtype=torch.float64, requires_grad=True)

    def run(x, *params):
        return net(x)[0]

    assert torch.autograd.gradgradcheck(run, (x, *net.parameters()))


@pytest.mark.parametrize("kind", KINDS)
def test_second_derivatives_with_spikes_agree_with_the_steps(kind):
    x = torch.randn(4, 2, 3, dtype=torch.float64, requires_grad=True)
    results = []
    for net in twins(kind, 3, 4, 2):
        y, _ = net(x, lengths=[4, 2])
        (g,) = torch.autograd.grad((y * y).sum(), x, create_graph=True)
        results.append([g, *torch.autograd.grad(g.square().sum(), list(net.parameters()))])
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_backward_twice_gives_the_same(kind):
    net = NETS[kind][0](3, 4, 2)
    x = torch.randn(4, 2, 3, requires_grad=True)
    y, _ = net(x)
    inputs = [x, *net.parameters()]
    first = torch.autograd.grad(y.sum(), inputs, retain_graph=True)
    for a, b in zip(torch.autograd.grad(y.sum(), inputs), first, strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("kind", KINDS)
def test_changing_the_output_in_place_is_noticed(kind):
    net = NETS[kind][0](3, 4, 1)
    y, _ = net(torch.randn(4, 2, 3))
    y.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


@pytest.mark.parametrize("kind", KINDS)
def test_only_pre_activations_and_states_are_kept(kind):
    cls, _, gates = NETS[kind]
    steps, batch, size = 50, 8, 32
    net = cls(size, size, 1)
    kept = {}

    def pack(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    x = torch.randn(steps, batch, size)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        net(x)
    weights = sum(p.numel() for p in net.parameters())
    # The input is the caller's; of the rest: gates, h, and the LSTM's c or the GRU's W_hn h.
    elements = steps * batch * size * (1 + gates + 1 + (kind != "vanilla"))
    assert sum(kept.values()) <= 4 * (elements + weights + 2 * batch * size)


def test_nothing_is_kept_alive_by_a_cycle():
    net = SpikingLSTM(3, 4, 2)
    gc.collect()
    gc.disable()
    try:
        import weakref

        y, _ = net(torch.randn(4, 2, 3))
        alive = weakref.ref(y)
        del y, _
        assert alive() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_gradients_are_near_those_of_float64(kind, dtype):
    torch.manual_seed(3)
    smooth = surrogate.Sigmoid(1.0, spiking=False)
    name = "surrogate_function" if kind == "vanilla" else "surrogate_function1"
    net = NETS[kind][0](4, 8, 2, **{name: smooth}).to(dtype)
    x = torch.randn(6, 3, 4).to(dtype)
    y, _ = net(x)
    (y.float().square().sum()).backward()
    grads = [p.grad.double() for p in net.parameters()]
    net = net.double()
    net.zero_grad()
    y2, _ = net(x.double())
    y2.square().sum().backward()
    unit = 2 ** (-10 if dtype == torch.float16 else -7)
    assert (y.double() - y2).abs().max() < 4 * unit
    for a, b in zip(grads, [p.grad for p in net.parameters()], strict=True):
        assert (a - b).norm() < 8 * unit * b.norm()


@pytest.mark.parametrize("kind", KINDS)
def test_checkpointing(kind):
    torch.manual_seed(4)
    net = NETS[kind][0](3, 4, 2)
    x = torch.randn(4, 2, 3, requires_grad=True)
    want = torch.autograd.grad(net(x)[0].sum(), [x, *net.parameters()])
    y = torch.utils.checkpoint.checkpoint(lambda x: net(x)[0], x, use_reentrant=False)
    for a, b in zip(torch.autograd.grad(y.sum(), [x, *net.parameters()]), want, strict=True):
        assert torch.equal(a, b)

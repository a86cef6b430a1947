"""Dynamics of a user's own, in a subclass or on one neuron, count on every backend."""

import pytest
import torch

from sj_core import neuron, surrogate


def test_overridden_fire_and_reset_are_used_on_every_backend():
    class Refractory(neuron.LIFNode):
        def neuronal_reset(self, spike):
            self.v = self.v - 2.0 * spike

    node = Refractory(step_mode="m")
    assert node.resolve_backend(torch.zeros(1, 1)) == "torch"
    node(torch.full((1, 1), 3.0))
    assert node.v.item() == -0.5


def test_a_surrogate_changed_between_calls_is_seen():
    x = torch.tensor([1.0], requires_grad=True)
    node = neuron.IFNode(surrogate_function=surrogate.ATan(2.0))
    for alpha in (2.0, 6.0):
        node.surrogate_function.alpha = alpha
        node.reset()
        (gradient,) = torch.autograd.grad(node(x), x)
        assert gradient.item() == alpha / 2
    node.surrogate_function.spiking = False
    node.reset()
    assert node(torch.tensor([1.0])).item() == 0.5


@pytest.mark.parametrize("backend", ["auto", "torch"])
def test_a_start_of_ones_own_is_used_and_learns_on_every_backend(backend):
    class Learned(neuron.IFNode):
        def __init__(self, **common):
            super().__init__(**common)
            self.start = torch.nn.Parameter(torch.tensor([0.0, 0.5, 0.9]))

        def memory_like(self, name, x):
            if name == "v" and not isinstance(self.v, torch.Tensor):
                return self.start.expand(x.shape)
            return super().memory_like(name, x)

    node = Learned(backend=backend)
    spike = node(torch.full((2, 3), 0.25))
    assert spike.tolist() == [[0.0, 0.0, 1.0]] * 2
    spike.sum().backward()
    h = torch.tensor([0.25, 0.75, 1.15])
    s = torch.sigmoid(4 * (h - 1))
    torch.testing.assert_close(node.start.grad, 2 * 4 * s * (1 - s))


@pytest.mark.parametrize("backend", ["auto", "torch"])
def test_a_method_replaced_on_one_node_is_used(backend):
    node = neuron.IFNode(backend=backend)
    node.neuronal_reset = lambda spike: setattr(node, "v", node.v - 2.0 * spike)
    node(torch.full((1,), 3.0))
    assert node.v.item() == 1.0

"""Activation checkpointing of what has a state: right gradients, or an error with the cure."""

import weakref

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from sj_core import base, functional, layer, neuron

X = torch.rand(5, 2, 3, generator=torch.Generator().manual_seed(0)) * 2


class Summing(base.MemoryModule):
    """A user's module: its state is a list that it changes in place."""

    def __init__(self):
        super().__init__("m")
        self.register_memory("seen", [])

    def single_step_forward(self, x):
        self.seen.append(x)
        return sum(self.seen)


class Counting(base.MemoryModule):
    """A user's module whose first memory stays what a reset makes of it."""

    def __init__(self):
        super().__init__("m")
        self.register_memory("mask", None)
        self.register_memory("total", 0.0)

    def single_step_forward(self, x):
        self.total = self.total + x
        return self.total


class Tripling(neuron.BaseNode):
    """A user's neuron with a loop of its own."""

    def neuronal_charge(self, x):
        return self.v + 3 * x

    def multi_step_forward(self, x_seq):
        return torch.stack([self.single_step_forward(x) for x in x_seq])


MODULES = {
    "IF": lambda: neuron.IFNode(step_mode="m"),
    "LIF torch": lambda: neuron.LIFNode(step_mode="m", backend="torch"),
    "per channel": lambda: neuron.LIFNode(v_threshold=torch.rand(3), step_mode="m"),
    "Izhikevich": lambda: neuron.IzhikevichNode(step_mode="m"),
    "GLIF": lambda: neuron.GatedLIFNode(T=5),
    "readout": lambda: neuron.NonSpikingLIFNode(decode=None, step_mode="m"),
    "own loop": lambda: Tripling(step_mode="m"),
    "own module": Summing,
    "own module of two": Counting,
    "filter": lambda: layer.SynapseFilter(3.0, step_mode="m"),
    "delay": lambda: layer.Delay(2, step_mode="m"),
    "recurrent": lambda: layer.ElementWiseRecurrentContainer(nn.ReLU(), torch.add, step_mode="m"),
    "net": lambda: nn.Sequential(layer.Linear(3, 3, step_mode="m"), neuron.LIFNode(step_mode="m")),
}


def gradient(module, call):
    x = X.clone().requires_grad_()
    call(module, x).square().sum().backward()
    return x.grad


@pytest.mark.parametrize("use_reentrant", [False, True])
@pytest.mark.parametrize("name", MODULES)
class TestCheckpoint:
    def test_from_the_state_that_the_first_forward_left_it_raises(self, name, use_reentrant):
        module = MODULES[name]()
        with pytest.raises(RuntimeError, match=r"functional_forward.*reset_net"):
            gradient(
                module,
                # A square saves its input, so that it must be computed again.
                lambda m, x: checkpoint(lambda x: m(x) ** 2, x, use_reentrant=use_reentrant),
            )

    def test_from_a_reset_within_it_is_right(self, name, use_reentrant):
        module = MODULES[name]()
        expected = gradient(module, lambda m, x: m(x))

        def run(x):
            functional.reset_net(module)
            return module(x)

        found = gradient(module, lambda _, x: checkpoint(run, x, use_reentrant=use_reentrant))
        torch.testing.assert_close(found, expected)

    def test_functional_forward_is_right(self, name, use_reentrant):
        module = MODULES[name]()
        expected = gradient(module, lambda m, x: m(x))

        def run(x):
            return functional.functional_forward(module, None, x)[0]

        found = gradient(module, lambda _, x: checkpoint(run, x, use_reentrant=use_reentrant))
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("use_reentrant", [False, True])
@pytest.mark.parametrize("backend", ["torch", "auto"])
def test_step_by_step(backend, use_reentrant):
    node = neuron.LIFNode(backend=backend)
    expected = gradient(node, lambda m, x: torch.stack([m(step) for step in x]))

    def run(x):
        node.reset()
        return torch.stack([node(step) for step in x])

    found = gradient(node, lambda _, x: checkpoint(run, x, use_reentrant=use_reentrant))
    torch.testing.assert_close(found, expected)

    def steps(_, x):
        v, spikes = torch.zeros(2, 3), []
        for step in x:
            spike, v = checkpoint(one, v, step, use_reentrant=use_reentrant)
            spikes.append(spike)
        return torch.stack(spikes)

    def one(v, step):
        node.v = v  # by hand
        return node(step), node.v

    torch.testing.assert_close(gradient(node, steps), expected)


def test_a_mask_that_stays_may_be_met_again():
    dropout = layer.Dropout(0.5, step_mode="m")
    found = gradient(dropout, lambda m, x: checkpoint(m, x, use_reentrant=False))
    assert torch.equal(found, gradient(dropout, lambda m, x: m(x)))


def test_a_forward_in_a_hook_without_gradients_is_none_of_it():
    node, other, seen = neuron.IFNode(step_mode="m"), torch.ones(2, requires_grad=True), []
    node(X)
    other.register_hook(lambda _: seen.append(node(X)))
    other.sum().backward()
    assert len(seen) == 1


def test_a_plain_forward_and_backward_again_and_again():
    node = neuron.IFNode(step_mode="m")
    for _ in range(2):
        gradient(node, lambda m, x: m(x))  # the state goes on
        functional.detach_net(node)


def in_chunks_and_reset(node, x):
    y = torch.cat([checkpoint(node, chunk, use_reentrant=False) for chunk in x.split(2)])
    node.reset()  # the last chunk is computed again from here, the one before from what it leaves
    return y


def in_one(touch):
    def call(node, x):
        y = checkpoint(node, x, use_reentrant=False)
        touch(node)
        return y

    return call


def in_another(node, x):
    def outer(x):
        node.reset()
        y = checkpoint(node, x, use_reentrant=False)
        return y * y.square()  # saved after the inner one, which therefore runs to its end

    return checkpoint(outer, x, use_reentrant=False)


@pytest.mark.parametrize(
    "call",
    [
        in_chunks_and_reset,
        in_one(functional.detach_net),
        in_one(lambda node: node.double().float()),
        in_one(lambda node: functional.functional_forward(node, None, X)),
        in_another,
    ],
    ids=["chunks, then reset", "detached", "moved", "functional_forward between", "nested"],
)
def test_what_is_done_to_the_state_before_backward_does_not_hide_it(call):
    with pytest.raises(RuntimeError, match="is what an earlier forward left"):
        gradient(neuron.LIFNode(step_mode="m", backend="torch"), call)


def test_nested_with_the_reset_in_the_inner_function_is_right():
    node = neuron.LIFNode(step_mode="m")

    def inner(x):
        node.reset()
        return node(x)

    def outer(x):
        y = checkpoint(inner, x, use_reentrant=False)
        return y * y.square()

    expected = gradient(node, lambda _, x: outer(x))
    found = gradient(node, lambda _, x: checkpoint(outer, x, use_reentrant=False))
    torch.testing.assert_close(found, expected)


def test_no_other_tensor_is_taken_for_what_was_left():
    # A tensor made later may have the `id` of one that is gone.
    node = neuron.IFNode(step_mode="m")
    node(X)
    kept = []
    for _ in range(100):
        node.v = torch.rand(2, 3)
        kept.append(node.v)
        assert not base.is_left(node)


def test_a_reset_frees_what_was_left():
    node = neuron.IFNode(step_mode="m")
    node(X)
    left = weakref.ref(node.v)
    node.reset()
    assert left() is None

"""Settings that are tensors, or computed: run and learnt on torch; the kernels take numbers."""

import pytest
import torch

from sj_core import backend, neuron, surrogate


def learnable_tau():
    """A time constant per neuron, computed from a parameter at each step."""

    class Learnable(neuron.LIFNode):
        def __init__(self):
            super().__init__(surrogate_function=surrogate.ATan())
            self.raw = torch.nn.Parameter(torch.tensor([0.5, 1.0, 3.0]))

        @property
        def tau(self):
            return 1.0 + self.raw.exp()

        @tau.setter
        def tau(self, value):
            pass

    node = Learnable()
    return node, node.raw, lambda raw: 1.0 + raw.exp()


def tensor_for_tau():
    node = neuron.LIFNode(surrogate_function=surrogate.ATan())
    node(torch.rand(2, 3))
    node.reset()
    node.tau = torch.tensor([1.5, 2.0, 4.0], requires_grad=True)
    return node, node.tau, lambda tau: tau


def parameter_for_tau():
    node = neuron.LIFNode(surrogate_function=surrogate.ATan())
    node(torch.rand(2, 3))
    node.reset()
    node.tau = torch.nn.Parameter(torch.tensor([1.5, 2.0, 4.0]))
    return node, node.tau, lambda tau: tau


@pytest.mark.parametrize("build", [learnable_tau, tensor_for_tau, parameter_for_tau])
@pytest.mark.parametrize("name", ["auto", "torch"])
def test_a_setting_that_is_a_tensor_is_used_and_learns(build, name):
    node, leaf, tau_of = build()
    node.backend = name
    x = torch.rand(4, 2, 3) * 3
    out = torch.stack([node(step) for step in x])
    assert out.any()
    (grad,) = torch.autograd.grad((out * x).sum(), leaf)
    tau, v, spikes = tau_of(leaf), torch.zeros(2, 3), []
    for step in x:
        h = v + (step - v) / tau
        spikes.append(surrogate.ATan()(h - 1.0))
        v = (1.0 - spikes[-1]) * h
    expected = torch.stack(spikes)
    torch.testing.assert_close(out, expected)
    torch.testing.assert_close(grad, torch.autograd.grad((expected * x).sum(), leaf)[0])


@pytest.mark.skipif(backend.kernels() is None, reason="asks for sj-kernels by name")
def test_a_setting_that_is_a_tensor_is_no_business_of_the_kernels():
    node = neuron.LIFNode(backend="native")
    node.tau = torch.tensor([2.0, 3.0])
    with pytest.raises(RuntimeError, match=r"cannot run LIFNode: one of its settings is a tensor"):
        node(torch.rand(2))


class Annealing:
    """A mixin, which is no neuron itself."""

    steps_seen = 0

    @property
    def tau(self):
        return 2.0 + self.steps_seen

    @tau.setter
    def tau(self, value):
        pass


def test_a_setting_computed_afresh_is_never_an_old_one():
    class Annealed(Annealing, neuron.LIFNode):
        pass

    node = Annealed()
    for expected in (0.5, 0.5 + 1 / 6):
        node(torch.ones(1))
        assert node.v.item() == pytest.approx(expected)
        Annealed.steps_seen = 1


@pytest.mark.parametrize("name", ["auto", "torch"])
def test_a_buffer_for_v_reset_runs_on_every_backend(name):
    node = neuron.IFNode(backend=name)
    del node.v_reset
    node.register_buffer("v_reset", torch.tensor([0.0, -1.0]))
    node(torch.ones(3, 2))
    assert node.v.tolist() == [[0.0, -1.0]] * 3

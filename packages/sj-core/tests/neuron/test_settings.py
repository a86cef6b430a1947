"""A setting changed on a node in use counts from the next step on, on both backends."""

import pytest
import torch

from sj_core import backend, neuron, surrogate


def _changes():
    yield lambda node: setattr(node, "tau", 3.0)
    yield lambda node: setattr(node, "v_threshold", 0.4)
    yield lambda node: setattr(node, "v_threshold", torch.tensor([0.2, 0.5, 0.9]))
    yield lambda node: setattr(node, "v_reset", None)
    yield lambda node: setattr(node, "v_reset", -0.5)
    yield lambda node: setattr(node, "v_rest", 0.3)
    yield lambda node: setattr(node, "decay_input", False)
    yield lambda node: setattr(node, "detach_reset", True)
    yield lambda node: setattr(node.surrogate_function, "alpha", 9.0)
    yield lambda node: setattr(node.surrogate_function, "spiking", False)
    yield lambda node: setattr(node, "surrogate_function", surrogate.Erf(alpha=1.3))
    yield lambda node: setattr(node, "backend", "torch")
    yield lambda node: node.eval()


@pytest.mark.skipif(backend.kernels() is None, reason="compares with sj-kernels")
@pytest.mark.parametrize("change", list(_changes()))
def test_a_changed_setting_counts_at_the_next_step(change):
    torch.manual_seed(0)
    start = torch.rand(5, 3, dtype=torch.float64)
    results = []
    for name in ("auto", "torch"):
        node = neuron.LIFNode(surrogate_function=surrogate.ATan(), backend=name)
        node(start)
        x = start.clone().requires_grad_()
        change(node)
        first = node(x)
        second = node(2 * x)
        (grad,) = torch.autograd.grad((first * x.detach() + second).sum(), x)
        results.append((first, second, node.v, grad))
    for mine, theirs in zip(*results, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.skipif(backend.kernels() is None, reason="asks what sj-kernels runs")
def test_every_change_in_turn_leaves_no_stale_plan():
    x = torch.rand(4, 3) + 0.5
    node, twin = neuron.LIFNode(), neuron.LIFNode(backend="torch")
    for tau, threshold in ((2.0, 1.0), (5.0, 1.0), (5.0, 0.3), (2.0, 1.0)):
        for each in (node, twin):
            each.tau, each.v_threshold = tau, threshold
        assert torch.equal(node(x), twin(x))
        assert torch.equal(node.v, twin.v)


@pytest.mark.parametrize("name", ["torch", "auto"])
@pytest.mark.parametrize("shape", [(), (1,), (1, 1)])
def test_a_threshold_of_one_element_is_a_number_whatever_its_shape(name, shape):
    node = neuron.IFNode(v_threshold=torch.full(shape, 0.7), step_mode="m", backend=name)
    twin = neuron.IFNode(v_threshold=0.7, step_mode="m", backend="torch")
    x = torch.rand(6, 2, 3)
    assert torch.equal(node(x), twin(x))
    torch.testing.assert_close(node.v, twin.v)


@pytest.mark.parametrize("name", ["torch", "auto"])
def test_a_leak_of_ones_own_is_not_passed_over(name):
    class Leakless(neuron.LIFNode):
        def leak(self, x, reciprocal_tau):
            return self.v + x

    node = Leakless(tau=4.0, step_mode="m", backend=name)
    assert node(torch.full((4, 1), 0.5)).flatten().tolist() == [0.0, 1.0, 0.0, 1.0]


@pytest.mark.parametrize("shape", [(), (1,), (3,)])
@pytest.mark.parametrize("name", ["torch", "auto", "native"])
def test_threshold_that_requires_grad(name, shape):
    """It is taken by its value, and gets no gradient, on every backend."""
    if name == "native":
        pytest.importorskip("sj_kernels")
    node = neuron.LIFNode(step_mode="m", backend=name)
    node.v_threshold = torch.full(shape, 0.7, requires_grad=True)
    twin = neuron.LIFNode(v_threshold=0.7, step_mode="m", backend="torch")
    x = 2 * torch.rand(5, 2, 3)
    leaf, other = x.clone().requires_grad_(), x.clone().requires_grad_()
    spikes, expected = node(leaf), twin(other)
    assert torch.equal(spikes, expected)
    assert spikes.any()
    (spikes * x).sum().backward()
    (expected * x).sum().backward()
    torch.testing.assert_close(leaf.grad, other.grad)
    assert node.v_threshold.grad is None

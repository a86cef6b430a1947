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

"""A setting changed on a node in use counts from the next step on, on both backends."""

import copy

import pytest
import torch

from sj_core import backend, functional, neuron, surrogate


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
    for size in ((6, 2, 3), (6, 4), (6,)):
        x = torch.rand(size)
        assert torch.equal(node(x), twin(x))
        torch.testing.assert_close(node.v, twin.v)
        node.reset()
        twin.reset()


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


def after(node, x):
    return torch.stack([node(step) for step in x]), node.v


@pytest.mark.parametrize("name", ["torch", "auto"])
@pytest.mark.parametrize("kind", ["IFNode", "LIFNode", "QIFNode", "NonSpikingIFNode"])
@pytest.mark.parametrize("v_reset", [-0.5, 0.25, None])
def test_a_v_reset_set_later_is_where_v_starts(kind, v_reset, name):
    x = torch.rand(5, 3, generator=torch.Generator().manual_seed(1))
    built = getattr(neuron, kind)(v_reset=v_reset, backend=name)
    changed = getattr(neuron, kind)(backend=name)
    changed.v_reset = v_reset
    assert changed.v == (v_reset or 0.0)
    expected = after(built, x)
    torch.testing.assert_close(after(changed, x), expected, rtol=0, atol=0)
    used = getattr(neuron, kind)(backend=name)
    used(x[0])
    kept = used.v.clone()
    used.v_reset = v_reset
    assert torch.equal(used.v, kept), "in mid-sequence V stays what it is"
    used.reset()
    torch.testing.assert_close(after(used, x), expected, rtol=0, atol=0)


def test_a_v_reset_set_later_is_checked_copied_and_leaves_other_starts_alone():
    node = neuron.IFNode()
    with pytest.raises(TypeError, match=r"`v_reset` \(='a'\) must be a number"):
        node.v_reset = "a"
    node.v_reset = -1
    twin = copy.deepcopy(node)
    twin.reset()
    assert (twin.v_reset, twin.v) == (-1.0, -1.0)

    class Elsewhere(neuron.IFNode):
        def __init__(self):
            super().__init__()
            self.register_memory("v", 0.75)

    elsewhere = Elsewhere()
    elsewhere.v_reset = -1.0
    assert elsewhere.v == 0.75
    half = neuron.HalfThresholdIFNode()
    half.v_reset = -1.0
    assert half.v == 0.5


def test_a_subclass_may_keep_its_own_v_reset():
    """One per neuron, that moves with the module and is in its `state_dict`."""

    class Own(neuron.IFNode):
        def __init__(self):
            super().__init__(backend="torch")
            del self.v_reset
            self.register_buffer("v_reset", torch.tensor([0.0, -1.0]))

    node = Own()
    assert node(torch.ones(3, 2)).all()
    assert node.v.tolist() == [[0.0, -1.0]] * 3
    assert list(node.state_dict()) == ["v_reset"]


def test_a_w_rest_set_later_is_where_w_starts():
    node = neuron.IzhikevichNode(w_rest=0.1)
    node.w_rest = 0.5
    assert node.w == 0.5
    node(torch.zeros(2))
    node.w_rest = 0.75
    node.reset()
    assert node.w == 0.75


@pytest.mark.parametrize("name", ["torch", "auto"])
@pytest.mark.parametrize("first", [1.0, torch.tensor([0.3, 0.6, 0.9])])
@pytest.mark.parametrize("later", [2.0, torch.tensor([0.5, 1.0, 2.0])])
def test_half_of_a_threshold_set_later_is_where_v_starts(later, first, name):
    x = torch.rand(6, 2, 3)
    changed = neuron.HalfThresholdIFNode(first, backend=name)
    changed.v_threshold = later
    built = neuron.HalfThresholdIFNode(later, backend=name)
    torch.testing.assert_close(after(changed, x), after(built, x), rtol=0, atol=0)
    kept = built.v.clone()
    built.v_threshold = first
    assert torch.equal(built.v, kept), "in mid-sequence V stays what it is"
    assert torch.equal(changed.double().v, kept.double())
    changed.reset()
    changed.to("meta")


@pytest.mark.parametrize("name", ["torch", "auto"])
def test_a_surrogates_parameter_set_later_is_checked(name):
    node = neuron.LIFNode(surrogate_function=surrogate.ATan(), backend=name)
    for value in ("2", None, torch.tensor(2.0), torch.nn.Parameter(torch.tensor(2.0))):
        with pytest.raises(TypeError, match=r"`alpha` \(=(.|\n)*\) of ATan must be a number\."):
            node.surrogate_function.alpha = value
    with pytest.raises(ValueError, match=r"`alpha` \(=-1\) must be greater than 0\."):
        node.surrogate_function.alpha = -1
    node.surrogate_function.alpha = 3
    x = torch.tensor([1.0, 2.5], requires_grad=True)
    (slope,) = torch.autograd.grad(node(x).sum(), x)
    h = x.detach() / 2 - 1.0
    torch.testing.assert_close(slope, 0.5 * 1.5 / (1 + (torch.pi / 2 * 3 * h) ** 2))


@pytest.mark.parametrize("name", ["torch", "auto"])
@pytest.mark.parametrize(
    ("threshold", "x"), [((3,), (2, 4)), ((3,), (2, 4, 3)), ((5, 3), (2, 3)), ((2, 1, 3), (2, 3))]
)
def test_a_threshold_that_does_not_fit_is_named(threshold, x, name):
    node = neuron.LIFNode(v_threshold=torch.ones(threshold), backend=name)
    with pytest.raises(ValueError, match=r"`v_threshold` has shape \(.*\) and must be.*\(2, "):
        node(torch.rand(x))


@pytest.mark.parametrize("v_threshold", [2, torch.tensor([0.5, 2.0])])
def test_half_threshold_holds_a_state_after_the_first_step_only(v_threshold):
    node = neuron.HalfThresholdIFNode(v_threshold)
    assert functional.get_state(node) == {}
    x = torch.full((3, 2), 0.125)
    _, state = functional.functional_forward(node, {}, x)
    assert torch.equal(state["v"], (torch.as_tensor(v_threshold) / 2 + x))
    node(x)
    assert list(functional.get_state(node)) == ["v"]
    functional.set_state(node, {})
    assert functional.get_state(node) == {}

"""torch.compile without a graph break, for every neuron and both backends."""

import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend

from sj_core import functional, layer, neuron, surrogate

T = 6


@pytest.fixture(autouse=True)
def _fresh_dynamo():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.mark.parametrize("backend", ["torch", "auto"])
def test_every_node_compiles_whole_and_trains_alike(any_node, backend):
    node = any_node(step_mode="m", backend=backend)
    x = (torch.rand(T, 2, 3) * 3).requires_grad_()
    if backend == "auto" and node.resolve_backend(x) == "torch":
        return  # seen with 'torch'
    counter = CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(node, fullgraph=True, backend=counter)
    out = compiled(x)
    (gradient,) = torch.autograd.grad(out.sum(), x)
    functional.reset_net(node)
    expected = node(x)
    (expected_gradient,) = torch.autograd.grad(expected.sum(), x)
    torch.testing.assert_close(out, expected, rtol=0, atol=0)
    torch.testing.assert_close(gradient, expected_gradient)


def test_no_recompile_from_one_call_to_the_next(any_node):
    node = any_node(step_mode="m")
    counter = CompileCounterWithBackend("eager")
    compiled = torch.compile(node, fullgraph=True, backend=counter)
    for _ in range(3):
        compiled(torch.rand(T, 2, 3))
        functional.detach_net(node)
    settled = counter.frame_count
    # Once from the reset state (a number), once from a kept one (a tensor).
    assert settled <= 2
    for _ in range(5):
        compiled(torch.rand(T, 2, 3))
        functional.detach_net(node)
    functional.reset_net(node)
    compiled(torch.rand(T, 2, 3))
    assert counter.frame_count == settled


def test_single_steps_do_not_recompile(both_modes):
    node = both_modes(step_mode="s")
    counter = CompileCounterWithBackend("eager")
    compiled = torch.compile(node, fullgraph=True, backend=counter)
    for _ in range(8):
        compiled(torch.rand(2, 3))
        functional.detach_net(node)
    assert counter.frame_count <= 3


@pytest.mark.parametrize("shape", [(), (1,), (3,)])
def test_a_threshold_that_is_a_tensor_compiles(shape):
    node = neuron.IFNode(v_threshold=torch.full(shape, 0.7), step_mode="m")
    x = torch.rand(T, 2, 3)
    out = torch.compile(node, fullgraph=True, backend="eager")(x)
    functional.reset_net(node)
    assert torch.equal(out, node(x))


def two_layers(backend, kind="Sigmoid"):
    torch.manual_seed(0)
    make = getattr(surrogate, kind)
    net = torch.nn.Sequential(
        layer.Linear(4, 6),
        neuron.LIFNode(surrogate_function=make(), backend=backend),
        layer.Linear(6, 3),
        neuron.IFNode(surrogate_function=make(), backend=backend),
    )
    functional.set_step_mode(net, "m")
    return net


def assert_alike(compiled, net, twin, x):
    functional.reset_net(net)
    functional.reset_net(twin)
    results = []
    for run, module in ((compiled, net), (twin, twin)):
        out = run(x)
        results.append((out, *torch.autograd.grad((out * x[..., :3]).sum(), module[0].weight)))
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("backend", ["torch", "auto"])
def test_a_net_compiles_for_every_shape_at_once(backend):
    net, twin = two_layers(backend), two_layers(backend)
    counter = CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(net, fullgraph=True, dynamic=True, backend=counter)
    for steps, batch in ((5, 2), (5, 3), (5, 7), (5, 4)):
        assert_alike(compiled, net, twin, torch.rand(steps, batch, 4) * 3)
    assert counter.frame_count <= 2


@pytest.mark.parametrize("kind", ["ATan", "Erf", "SquarewaveFourierSeries"])
def test_surrogates_with_a_constant_compile_for_every_shape_at_once(kind):
    net, twin = two_layers("torch", kind), two_layers("torch", kind)
    compiled = torch.compile(net, fullgraph=True, dynamic=True, backend="aot_eager")
    assert_alike(compiled, net, twin, torch.rand(5, 2, 4) * 3)


@pytest.mark.parametrize("backend", ["torch", "auto"])
def test_surrogates_and_thresholds_that_are_annealed_compile(backend):
    net, twin = two_layers(backend), two_layers(backend)
    compiled = torch.compile(net, fullgraph=True, backend="aot_eager")
    for alpha in (1.0, 2.0, 3.5):
        for node in (net[1], net[3], twin[1], twin[3]):
            node.surrogate_function.alpha = alpha
            node.v_threshold = 0.5 + alpha / 10
        assert_alike(compiled, net, twin, torch.rand(5, 2, 4) * 3)


class Constant(torch.nn.Module):
    """A neuron whose input no trace sees as its own: 0.6 at each of four steps."""

    def __init__(self):
        super().__init__()
        self.node = neuron.IFNode(step_mode="m")
        self.current = torch.full((4, 2), 0.6)

    def forward(self, x):
        return self.node(self.current) + x


# torch.export remarks on the state, which is an attribute, and that of torch 2.6 on constants.
@pytest.mark.filterwarnings("ignore:.*get_attr:UserWarning")
@pytest.mark.filterwarnings("ignore:The tensor attribute:UserWarning")
@pytest.mark.filterwarnings("ignore:While compiling, we found certain side effects:UserWarning")
@pytest.mark.parametrize("used_before", [False, True])
@pytest.mark.parametrize("strict", [False, True])
def test_a_neuron_fed_by_a_constant_is_exported_and_runs_on(strict, used_before):
    net, zero = Constant(), torch.zeros(1)
    expected = torch.tensor([0.0, 1.0, 0.0, 1.0])[:, None].expand(4, 2)  # V = 0.6, 1.2, 0.6, 1.2
    if used_before:
        assert torch.equal(net(zero), expected)
        functional.reset_net(net)
    exported = torch.export.export(net, (zero,), strict=strict)
    assert torch.equal(exported.module()(zero), expected)
    functional.reset_net(net)
    assert torch.equal(net(zero), expected)

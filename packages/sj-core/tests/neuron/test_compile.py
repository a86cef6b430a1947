"""torch.compile without a graph break, for every neuron and both backends."""

import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend

from sj_core import functional, neuron

T = 6
# torch's own tracing of an autograd.Function makes an instance of it.
pytestmark = pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")


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

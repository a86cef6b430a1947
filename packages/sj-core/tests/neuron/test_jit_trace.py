"""torch.jit.trace records torch's operations: what it makes computes what the neuron computes."""

import pytest
import torch

from sj_core import backend, functional, neuron

pytestmark = pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
X = torch.rand(5, 2, 3, generator=torch.Generator().manual_seed(0)) * 2


@pytest.mark.parametrize("grad", [True, False])
@pytest.mark.parametrize(
    "node",
    [neuron.IFNode, neuron.LIFNode, neuron.IzhikevichNode, neuron.ParametricLIFNode],
)
def test_a_trace_computes_what_the_neuron_computes(node, grad):
    module = node(step_mode="m")
    with torch.set_grad_enabled(grad):
        traced = torch.jit.trace(module, (X,), check_trace=False)
    module.reset()
    for x in (X, X.flip(0)):
        torch.testing.assert_close(traced(x), functional.functional_forward(module, None, x)[0])
    assert module.backend == "auto"


def test_the_kernels_cannot_be_traced():
    if backend.kernels() is None:
        pytest.skip("needs sj-kernels")
    module = neuron.LIFNode(step_mode="m", backend="native")
    with pytest.raises(RuntimeError, match=r"`backend` \(='native'\).*torch\.jit\.trace.*'auto'"):
        torch.jit.trace(module, (X,))
    assert module.backend == "native"

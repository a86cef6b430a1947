"""Eager calls whose backward torch compiles (`torch._dynamo.compiled_autograd`), in one graph."""

import pytest
import torch
from kernels_reference import NEURON_PARAMS
from torch._dynamo import compiled_autograd

from sj_kernels import ops

enable = getattr(compiled_autograd, "_enable", None) or compiled_autograd.enable


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
@pytest.mark.parametrize("state", [False, True])
@pytest.mark.parametrize("neuron", list(NEURON_PARAMS))
def test_gradients(neuron, state, dtype):
    torch._dynamo.reset()
    x = (torch.randn(4, 3, 5) + 0.6).to(dtype)
    decay = torch.tensor([0.4]) if neuron == "plif" else None
    leaves = [t for t in (x, torch.zeros(3, 5) if state else None, decay) if t is not None]

    def loss(x, *rest):
        decay = rest[-1] if neuron == "plif" else None
        s, v, _, _ = ops.neuron(
            x, rest[0] if state else 0.0, neuron=neuron, params=NEURON_PARAMS[neuron], decay=decay
        )
        return (s * torch.linspace(-1, 1, s.numel()).view_as(s)).sum() + v.sum()

    eager = [t.clone().requires_grad_() for t in leaves]
    loss(*eager).backward()
    compiled = [t.clone().requires_grad_() for t in leaves]
    value = loss(*compiled)
    with enable(torch.compile(backend="eager", fullgraph=True)):
        value.backward()
    for ours, expected in zip(compiled, eager, strict=True):
        assert expected.grad.any()
        assert torch.equal(ours.grad, expected.grad)

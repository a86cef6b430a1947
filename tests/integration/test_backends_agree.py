"""Whole networks on both backends: the same spikes bit for bit, the same gradients to rounding."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from sj_core import functional, layer, neuron, surrogate

pytest.importorskip("sj_kernels", reason="the native backend is sj-kernels")

STEPS, BATCH = 5, 3


def network(detach_reset: bool, v_reset: float | None) -> nn.Sequential:
    torch.manual_seed(1)
    common = {"detach_reset": detach_reset, "v_reset": v_reset}
    return nn.Sequential(
        layer.Conv2d(2, 8, 3, padding=1, bias=False),
        layer.BatchNorm2d(8),
        neuron.LIFNode(tau=1.7, v_threshold=0.5, surrogate_function=surrogate.ATan(), **common),
        layer.MaxPool2d(2),
        layer.Conv2d(8, 6, 3),
        neuron.ParametricLIFNode(init_tau=3.0, decay_input=False, v_threshold=0.3, **common),
        layer.Flatten(),
        layer.Linear(6 * 4 * 4, 10),
        neuron.IFNode(v_threshold=0.3, surrogate_function=surrogate.Erf(), **common),
    )


def run(net: nn.Sequential, x_seq: Tensor, backend: str) -> tuple[list[Tensor], list[Tensor]]:
    """Spikes of every neuron, and the gradients of the input and of every parameter."""
    net = copy.deepcopy(net)
    functional.set_backend(net, backend)
    functional.set_step_mode(net, "m")
    x = x_seq.detach().clone(memory_format=torch.preserve_format).requires_grad_()
    spikes: list[Tensor] = []
    for module in net.modules():
        if isinstance(module, neuron.BaseNode):
            assert module.resolve_backend(x) == backend
            module.register_forward_hook(lambda _, __, out: spikes.append(out.detach()))
    y = net(x)
    weight = torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view_as(y)
    gradients = torch.autograd.grad((y * weight).sum(), [x, *net.parameters()])
    return spikes, list(gradients)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("detach_reset", [False, True])
@pytest.mark.parametrize("v_reset", [0.0, -0.2, None])
@pytest.mark.parametrize("channels_last", [False, True])
def test_network(dtype, detach_reset, v_reset, channels_last):
    net = network(detach_reset, v_reset).to(dtype)
    x_seq = 2 * torch.randn(STEPS, BATCH, 2, 12, 12, dtype=dtype)
    if channels_last:
        net = net.to(memory_format=torch.channels_last)
        x_seq = x_seq.transpose(2, 4).contiguous().transpose(2, 4)
    (torch_spikes, torch_grads), (spikes, grads) = (
        run(net, x_seq, backend) for backend in ("torch", "native")
    )
    for ours, reference in zip(spikes, torch_spikes, strict=True):
        assert 0.01 < reference.mean() < 0.9, "a silent layer would prove nothing"
        assert torch.equal(ours, reference)
    tolerance = {torch.float32: 2e-4, torch.float64: 1e-10}[dtype]
    for ours, reference in zip(grads, torch_grads, strict=True):
        assert reference.abs().max() > 0
        torch.testing.assert_close(
            ours, reference, rtol=tolerance, atol=tolerance * reference.abs().max().item()
        )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_keeps_float32_potentials_on_both(dtype):
    x_seq = (torch.randn(200, 4, 8) + 0.3).to(dtype)
    results = []
    for backend in ("torch", "native"):
        node = neuron.LIFNode(tau=20.0, decay_input=False, step_mode="m", backend=backend)
        results.append((node(x_seq), node.v))
    (s_torch, v_torch), (s_native, v_native) = results
    assert s_torch.dtype == s_native.dtype == dtype
    assert v_torch.dtype == v_native.dtype == torch.float32
    assert torch.equal(s_torch, s_native)
    assert torch.equal(v_torch, v_native)


@pytest.mark.parametrize("backend", ["torch", "native"])
def test_steps_one_by_one_equal_the_sequence(backend):
    net = network(False, 0.0).eval()
    functional.set_backend(net, backend)
    x_seq = 2 * torch.randn(STEPS, BATCH, 2, 12, 12)
    with torch.no_grad():
        one_by_one = torch.stack([net(x) for x in x_seq])
        functional.reset_net(net)
        functional.set_step_mode(net, "m")
        at_once = net(x_seq)
    assert torch.equal(one_by_one, at_once)


def test_backend_may_change_between_sequences_and_within_one():
    node = neuron.LIFNode(tau=3.0, step_mode="m")
    x_seq = torch.rand(8, 2, 6) * 3
    whole = node(x_seq)
    functional.reset_net(node)
    node.backend = "native"
    first = node(x_seq[:3])
    node.backend = "torch"
    assert torch.equal(torch.cat([first, node(x_seq[3:])]), whole)

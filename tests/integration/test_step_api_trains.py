"""The step API alone trains a network, with the gradients of sj-core's LIFNode."""

import pytest
import torch
from torch import nn

from sj_core import neuron, surrogate

step_api = pytest.importorskip("sj_kernels.neuron")
T, TAU = 6, 2.0


def network(first: nn.Module, second: nn.Module) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 32), first, nn.Linear(32, 2), second)


def native() -> nn.Module:
    return step_api.MultiStepLIFNode(tau=TAU)


def core() -> nn.Module:
    """The same neuron on the torch backend: the division of the input and ATan(2) are defaults."""
    return neuron.LIFNode(
        tau=TAU, surrogate_function=surrogate.ATan(2.0), step_mode="m", backend="torch"
    )


def loss_of(net: nn.Sequential, x_seq: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
    for module in net:
        if hasattr(module, "reset"):
            module.reset()
    return nn.functional.cross_entropy(4 * net(x_seq).mean(0), label)


def test_training_and_gradients():
    x = 3 * torch.randn(128, 8, generator=torch.Generator().manual_seed(1))
    label = (x[:, 0] + x[:, 1] > 0).long()
    x_seq = x.expand(T, *x.shape)
    net, twin = network(native(), native()), network(core(), core())
    first = loss_of(net, x_seq, label)
    first.backward()
    loss_of(twin, x_seq, label).backward()
    for ours, theirs in zip(net.parameters(), twin.parameters(), strict=True):
        assert theirs.grad.abs().sum() > 0
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-5, atol=1e-6)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.02)
    for _ in range(60):
        optimizer.zero_grad()
        loss = loss_of(net, x_seq, label)
        loss.backward()
        optimizer.step()
    assert loss < 0.5 * first

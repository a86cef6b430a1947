"""What the tests of states share: every layer that keeps one, and a small net."""

import pytest
import torch
from torch import nn

from sj_core import functional, layer, neuron

T, N, C = 4, 3, 6


def recurrent_sub():
    return nn.Sequential(nn.Linear(C, C), neuron.LIFNode(tau=1.5))


class Difference(nn.Module):
    def forward(self, y, x):
        return x - y


BUILDERS = {
    "Dropout": lambda: layer.Dropout(0.5),
    "Dropout2d": lambda: layer.Dropout2d(0.5),
    "SynapseFilter": lambda: layer.SynapseFilter(3.0),
    "SynapseFilter-learnable": lambda: layer.SynapseFilter(3.0, learnable=True),
    "Delay": lambda: layer.Delay(2),
    "DropConnectLinear": lambda: layer.DropConnectLinear(C, 5),
    "NeuNorm": lambda: layer.NeuNorm(C, 2, 2),
    "ElementWise": lambda: layer.ElementWiseRecurrentContainer(recurrent_sub(), Difference()),
    "Linear": lambda: layer.LinearRecurrentContainer(recurrent_sub(), C, C),
    "StepMode": lambda: layer.StepModeContainer(True, *recurrent_sub()),
    "Attention": lambda: layer.SpikingSelfAttention(C, 2, step_mode="s"),
}
IMAGES = ("Dropout2d", "NeuNorm")
# One product over all steps is summed in another order than one per step.
SUMS = ("DropConnectLinear", "Attention")
kinds = pytest.mark.parametrize("kind", BUILDERS)


def build(kind, step_mode="m", dtype=torch.float32):
    torch.manual_seed(0)
    module = BUILDERS[kind]().to(dtype)
    if kind == "Attention":  # fires, and normalises alike in both modes
        for bn in (module.qkv_bn, module.proj_bn):
            nn.init.constant_(bn.weight, 4.0), nn.init.constant_(bn.bias, 2.0)
            bn.eval()
    functional.set_step_mode(module, step_mode)
    return module


def inputs(kind, time_steps=T, dtype=torch.float32, batch=N):
    torch.manual_seed(1)
    shape = {"Attention": (C, 5)}.get(kind, (C, 2, 2) if kind in IMAGES else (C,))
    return (2 * torch.rand(time_steps, batch, *shape) + 0.1).to(dtype)


def assert_equal(a, b):
    assert torch.equal(a, b)


def make_net(step_mode="s", dtype=torch.float64):
    torch.manual_seed(0)
    net = nn.Sequential(
        layer.Linear(3, 5), neuron.LIFNode(), layer.Linear(5, 4), neuron.ParametricLIFNode()
    ).to(dtype)
    functional.set_step_mode(net, step_mode)
    return net

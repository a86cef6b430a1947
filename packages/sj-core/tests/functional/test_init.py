"""Initialisation: the variance that the formula gives, for every kind of layer."""

import pytest
import torch
from torch import nn

from sj_core import functional, layer

LAYERS = [
    (nn.Linear(400, 300), 400),
    (nn.Conv1d(50, 100, 5), 250),
    (layer.Conv2d(40, 60, 3), 360),
    (nn.Conv3d(20, 40, 2), 160),
    # torch counts the fan-in of a transposed weight [in, out, ...] from its second axis
    (nn.ConvTranspose2d(60, 40, 3), 360),
    (nn.ConvTranspose1d(100, 50, 5), 250),
]


@pytest.mark.parametrize("module, fan_in", LAYERS, ids=lambda x: type(x).__name__)
def test_weights_are_normal_with_the_variance_of_the_formula(module, fan_in):
    torch.manual_seed(0)
    bias = module.bias.detach().clone()
    functional.kaiming_normal_conv_linear_weight(nn.Sequential(nn.Identity(), module))
    w = module.weight.detach().double() * (3 * fan_in) ** 0.5
    count = w.numel()
    assert abs(w.mean()) < 5 / count**0.5
    assert abs(w.var() - 1) < 5 * (2 / count) ** 0.5
    assert abs((w.abs() < 1).double().mean() - 0.6827) < 5 * (0.22 / count) ** 0.5  # normal
    assert torch.equal(module.bias, bias)


def test_other_parameters_stay():
    net = nn.Sequential(nn.BatchNorm2d(3), nn.Embedding(4, 5), nn.LayerNorm(3))
    before = {k: v.clone() for k, v in net.state_dict().items()}
    functional.kaiming_normal_conv_linear_weight(net)
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())

"""A user's own layers that fold time, and what autograd is told of their outputs."""

import inspect
import pickle

import pytest
import torch
from torch import nn

from sj_core import layer


class Softmax2d(layer.FoldTime, nn.Softmax2d):
    step_shapes = ("N, C, H, W", "C, H, W")


class Identity(layer.FoldTime, nn.Identity):
    step_shapes = ("N, C, H, W",)


class Scaled(layer.Conv2d):
    def __init__(self, channels, gain):
        super().__init__(channels, channels, 1, step_mode="m")
        self.gain = gain


class ConvTanh(nn.Conv2d):
    def forward(self, x):
        return super().forward(x).tanh()


class FoldedConvTanh(layer.FoldTime, ConvTanh):
    step_shapes = ("N, C, H, W",)


class ConvForwardTanh(layer.Conv2d):
    def _conv_forward(self, *args):
        return super()._conv_forward(*args).tanh()


def test_a_users_own_layer_needs_one_line():
    x = torch.randn(3, 2, 4, 5, 5)
    y = Softmax2d(step_mode="m")(x)
    torch.testing.assert_close(y, x.softmax(2))
    assert pickle.loads(pickle.dumps(Softmax2d(step_mode="m"))).step_mode == "m"
    assert list(inspect.signature(Scaled).parameters) == ["channels", "gain"]
    assert Scaled(4, 2.0)(x).shape == x.shape


@pytest.mark.parametrize(
    "module",
    [
        Softmax2d(step_mode="m"),
        FoldedConvTanh(4, 4, 3, step_mode="m"),
        ConvForwardTanh(4, 4, 3, step_mode="m"),
    ],
    ids=lambda module: type(module).__name__,
)
def test_a_change_in_place_of_what_backward_reads_is_told(module):
    x = torch.randn(3, 2, 4, 5, 5, requires_grad=True)
    y = module(x)
    y *= 0.5  # its backward would take this for its result
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.square().sum().backward()


@pytest.mark.parametrize("grad", [True, False])
def test_a_layer_that_returns_its_input_shares_its_memory_openly(grad):
    x = torch.ones(3, 2, 4, 5, 5, requires_grad=grad) * 1.0
    y = Identity(step_mode="m")(x)
    version = x._version
    y += 1
    assert x._version > version  # autograd knows
    assert torch.equal(x, y)

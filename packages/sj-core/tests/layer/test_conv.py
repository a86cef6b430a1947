"""Convolutions: what is special about them as layers with a step mode."""

import pytest
import torch
from torch import nn

from sj_core import layer


def test_a_convolution_by_hand():
    conv = layer.Conv1d(1, 1, 2, bias=False, step_mode="m")
    with torch.no_grad():
        conv.weight.copy_(torch.tensor([[[1.0, 10.0]]]))
    x = torch.tensor([[[[1.0, 2.0, 3.0]]], [[[0.0, 1.0, 0.0]]]])
    assert conv(x).tolist() == [[[[21.0, 32.0]]], [[[10.0, 1.0]]]]


@pytest.mark.parametrize("dim", [1, 2, 3])
@pytest.mark.parametrize("form", ["last axes", "whole shape"])
def test_output_size_of_a_transposed_convolution(dim, form):
    kind = getattr(layer, f"ConvTranspose{dim}d")
    conv = kind(2, 3, 3, stride=2, step_mode="m")
    x = torch.randn(4, 2, 2, *[5] * dim)
    for size in (11, 12):
        wanted = [size] * dim if form == "last axes" else [4, 2, 3, *[size] * dim]
        y = conv(x, wanted)
        assert y.shape == (4, 2, 3, *[size] * dim)
        theirs = getattr(nn, f"ConvTranspose{dim}d").forward
        conv.step_mode = "s"
        expected = torch.stack([theirs(conv, step, [size] * dim) for step in x])
        assert torch.equal(conv(x[0], output_size=[size] * dim), expected[0])
        conv.step_mode = "m"
        torch.testing.assert_close(y, expected)


def test_weights_load_from_a_plain_net():
    plain = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(8, 3))
    ours = nn.Sequential(layer.Conv2d(1, 2, 3), layer.Flatten(), layer.Linear(8, 3))
    ours.load_state_dict(plain.state_dict())
    x = torch.randn(2, 1, 4, 4)
    assert torch.equal(ours(x), plain(x))


def test_device_and_dtype_arguments():
    conv = layer.Conv2d(1, 2, 3, device="meta", dtype=torch.float64, step_mode="m")
    assert (conv.weight.device.type, conv.weight.dtype) == ("meta", torch.float64)
    assert conv(torch.empty(4, 2, 1, 5, 5, device="meta", dtype=torch.float64)).shape[0] == 4

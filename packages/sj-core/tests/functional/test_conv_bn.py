"""Conv-BN fusion against the two layers run one after the other, and against the formula."""

import copy

import pytest
import torch
from torch import nn

from sj_core import functional, layer

PAIRS = {
    "1d": (nn.Conv1d, nn.BatchNorm1d, {}, (2, 4, 9)),
    "2d": (nn.Conv2d, nn.BatchNorm2d, {"stride": 2, "padding": 1, "dilation": 2}, (2, 4, 9, 8)),
    "2d-groups": (
        nn.Conv2d,
        nn.BatchNorm2d,
        {"groups": 2, "padding": 1, "padding_mode": "reflect"},
        (2, 4, 5, 6),
    ),
    "3d": (nn.Conv3d, nn.BatchNorm3d, {"padding": "same"}, (2, 4, 5, 4, 3)),
    "transposed": (nn.ConvTranspose2d, nn.BatchNorm2d, {"stride": 2}, (2, 4, 5, 6)),
    "transposed-groups": (
        nn.ConvTranspose1d,
        nn.BatchNorm1d,
        {"groups": 2, "output_padding": 1, "stride": 2},
        (2, 4, 5),
    ),
    "ours": (layer.Conv2d, layer.BatchNorm2d, {}, (2, 4, 5, 6)),
}
pairs = pytest.mark.parametrize("kind", PAIRS)


def make(kind, affine=True, dtype=torch.float64):
    torch.manual_seed(0)
    conv_class, bn_class, kwargs, shape = PAIRS[kind]
    conv = conv_class(4, 6, 3, bias=False, **kwargs).to(dtype)
    bn = bn_class(6, affine=affine, eps=0.01).to(dtype).eval()
    with torch.no_grad():
        bn.running_mean.normal_()
        bn.running_var.uniform_(0.5, 2)
        if affine:
            bn.weight.normal_()
            bn.bias.normal_()
    return conv, bn, torch.randn(shape, dtype=dtype)


@pairs
@pytest.mark.parametrize("affine", [True, False])
def test_the_fused_layer_computes_both(kind, affine):
    conv, bn, x = make(kind, affine)
    before = copy.deepcopy((conv.state_dict(), bn.state_dict()))
    fused = functional.fuse_convbn2d(conv, bn)
    torch.testing.assert_close(fused(x), bn(conv(x)))
    assert type(fused) is type(conv)
    assert (fused.stride, fused.padding, fused.dilation) == (
        conv.stride,
        conv.padding,
        conv.dilation,
    )
    assert (fused.groups, fused.padding_mode) == (conv.groups, conv.padding_mode)
    assert fused.weight.requires_grad
    assert fused.bias.requires_grad
    assert conv.bias is None
    for module, state in zip((conv, bn), before, strict=True):
        assert all(torch.equal(v, state[k]) for k, v in module.state_dict().items())


def test_weight_and_bias_by_the_formula():
    conv, bn = nn.Conv2d(1, 2, 1, bias=False), nn.BatchNorm2d(2, eps=0.0)
    with torch.no_grad():
        conv.weight.copy_(torch.tensor([3.0, -5.0]).view(2, 1, 1, 1))
        bn.weight.copy_(torch.tensor([2.0, 0.5]))
        bn.bias.copy_(torch.tensor([1.0, -1.0]))
        bn.running_mean.copy_(torch.tensor([4.0, 6.0]))
        bn.running_var.copy_(torch.tensor([16.0, 0.25]))
    weight = functional.fused_conv2d_weight_of_convbn2d(conv, bn)
    bias = functional.fused_conv2d_bias_of_convbn2d(conv, bn)
    assert weight.flatten().tolist() == [3.0 * 2 / 4, -5.0 * 0.5 / 0.5]
    assert bias.tolist() == [1.0 - 4 * 2 / 4, -1.0 - 6 * 0.5 / 0.5]


@pairs
@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("k, b", [(None, None), (2.5, None), (None, -0.75), (0.5, 0.25), (-1, 3)])
def test_scaling_changes_the_fused_weight_and_bias_as_asked(kind, affine, k, b):
    conv, bn, x = make(kind, affine)
    w = functional.fused_conv2d_weight_of_convbn2d(conv, bn).detach()
    c = functional.fused_conv2d_bias_of_convbn2d(conv, bn).detach()
    factor, shift = 1.0 if k is None else k, 0.0 if b is None else b
    new_w = functional.scale_fused_conv2d_weight_of_convbn2d(conv, bn, k, b)
    torch.testing.assert_close(new_w, factor * w + shift)
    torch.testing.assert_close(functional.fused_conv2d_weight_of_convbn2d(conv, bn), new_w)
    torch.testing.assert_close(functional.fused_conv2d_bias_of_convbn2d(conv, bn), c)
    new_c = functional.scale_fused_conv2d_bias_of_convbn2d(conv, bn, k, b)
    torch.testing.assert_close(new_c, factor * c + shift)
    torch.testing.assert_close(functional.fused_conv2d_bias_of_convbn2d(conv, bn), new_c)
    torch.testing.assert_close(functional.fused_conv2d_weight_of_convbn2d(conv, bn), new_w)
    # and the two layers themselves compute it
    fused = functional.fuse_convbn2d(conv, bn)
    torch.testing.assert_close(fused.weight.detach(), new_w)
    torch.testing.assert_close(bn(conv(x)), fused(x))


@pairs
def test_scaling_by_a_number_per_output_channel(kind):
    conv, bn, x = make(kind)
    k, b = torch.randn(6, dtype=torch.float64), torch.randn(6, dtype=torch.float64)
    y = bn(conv(x))
    per_channel = (-1, *[1] * (x.dim() - 2))
    functional.scale_fused_conv2d_weight_of_convbn2d(conv, bn, k)
    functional.scale_fused_conv2d_bias_of_convbn2d(conv, bn, k, b)
    torch.testing.assert_close(bn(conv(x)), y * k.view(per_channel) + b.view(per_channel))


def test_the_fused_weight_is_differentiable():
    conv, bn, _ = make("2d")
    functional.fused_conv2d_weight_of_convbn2d(conv, bn).sum().backward()
    scale = bn.weight / (bn.running_var + bn.eps).sqrt()
    torch.testing.assert_close(conv.weight.grad, scale.view(-1, 1, 1, 1).expand_as(conv.weight))
    assert bn.weight.grad is not None


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_the_dtype_is_the_convolutions(dtype):
    conv, bn, _ = make("2d", dtype=torch.float32)
    assert functional.fuse_convbn2d(conv.to(dtype), bn).bias.dtype == dtype


def test_frozen_and_step_mode_are_kept():
    conv = layer.Conv2d(1, 2, 3, bias=False, step_mode="m").requires_grad_(False)
    fused = functional.fuse_convbn2d(conv, layer.BatchNorm2d(2))
    assert fused.step_mode == "m"
    assert not fused.bias.requires_grad
    assert fused(torch.zeros(3, 1, 1, 5, 5)).shape == (3, 1, 2, 3, 3)


ALL = [
    functional.fuse_convbn2d,
    functional.fused_conv2d_weight_of_convbn2d,
    functional.fused_conv2d_bias_of_convbn2d,
    functional.scale_fused_conv2d_weight_of_convbn2d,
    functional.scale_fused_conv2d_bias_of_convbn2d,
]


@pytest.mark.parametrize("function", ALL)
def test_pairs_that_do_not_fit(function):
    bare = nn.Conv2d(1, 2, 3, bias=False)
    with pytest.raises(ValueError, match="`conv2d` has a bias"):
        function(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    with pytest.raises(ValueError, match="3 features and must have 2"):
        function(bare, nn.BatchNorm2d(3))
    with pytest.raises(ValueError, match="running statistics"):
        function(bare, nn.BatchNorm2d(2, track_running_stats=False))
    with pytest.raises(TypeError, match="`conv2d`"):
        function(nn.Linear(1, 2), nn.BatchNorm2d(2))
    with pytest.raises(TypeError, match="`bn2d`"):
        function(bare, nn.GroupNorm(1, 2))


def test_a_scale_of_zero_cannot_be_shifted():
    conv, bn, _ = make("2d")
    with torch.no_grad():
        bn.weight[3] = 0
    before = conv.weight.clone()
    with pytest.raises(ValueError, match=r"`b` \(=1.0\).*channel 3"):
        functional.scale_fused_conv2d_weight_of_convbn2d(conv, bn, 2.0, 1.0)
    assert torch.equal(conv.weight, before)
    # without a shift of its own the normalisation takes `b` from its mean, through the scale
    bn.register_parameter("bias", None)
    mean = bn.running_mean.clone()
    with pytest.raises(ValueError, match=r"fused bias.*channel 3"):
        functional.scale_fused_conv2d_bias_of_convbn2d(conv, bn, 2.0, 1.0)
    assert torch.equal(bn.running_mean, mean)
    with torch.no_grad():
        bn.weight[3] = 1
    before = functional.fused_conv2d_bias_of_convbn2d(conv, bn)
    after = functional.scale_fused_conv2d_bias_of_convbn2d(conv, bn, 2.0, 1.0)
    torch.testing.assert_close(after, 2 * before + 1)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_rounded_once(dtype):
    """Fused in float64 and rounded, it is the same: 1/sqrt(var + eps) is not rounded by itself."""
    conv, bn = nn.Conv2d(3, 64, 3, bias=False), nn.BatchNorm2d(64)
    with torch.no_grad():
        bn.running_var.uniform_(1e-6, 2.0)
        bn.running_mean.normal_()
        bn.weight.uniform_(0.5, 2.0)
        bn.bias.zero_()
    conv, bn = conv.to(dtype), bn.to(dtype)
    fused = functional.fuse_convbn2d(conv, bn)
    exact = functional.fuse_convbn2d(copy.deepcopy(conv).double(), copy.deepcopy(bn).double())
    half_a_step = torch.finfo(dtype).eps / 2 * 1.001
    torch.testing.assert_close(fused.weight.double(), exact.weight, rtol=half_a_step, atol=1e-7)
    torch.testing.assert_close(fused.bias.double(), exact.bias, rtol=half_a_step, atol=1e-7)

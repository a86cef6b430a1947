"""A convolution without bias and the batch normalisation that follows it, as one convolution."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from sj_core._checks import as_float

Factor = float | Tensor | None


def fused_conv2d_weight_of_convbn2d(conv2d: _ConvNd, bn2d: _BatchNorm) -> Tensor:
    """The weight of the one convolution that equals ``bn2d(conv2d(x))`` in eval mode.

    ``W * gamma / sqrt(var + eps)`` per output channel, with ``gamma`` and ``var`` the scale and the
    running variance of ``bn2d``. Differentiable with respect to ``W`` and ``gamma``. Pairs of one
    and three dimensions, and transposed convolutions, are taken too.

    Shape: that of ``conv2d.weight``.

    Raises ``TypeError`` if the two are not a convolution and a batch normalisation, ``ValueError``
    if the convolution has a bias, if their channels differ, or if no running statistics are kept.

    >>> import torch
    >>> from sj_core import functional
    >>> conv, bn = torch.nn.Conv2d(1, 2, 3, bias=False), torch.nn.BatchNorm2d(2, eps=0.0)
    >>> bn.running_var.fill_(4.0)
    tensor([4., 4.])
    >>> weight = functional.fused_conv2d_weight_of_convbn2d(conv, bn)
    >>> torch.equal(weight, conv.weight / 2)
    True
    """
    _check_pair(conv2d, bn2d)
    return _fused_weight(conv2d, bn2d)


def fused_conv2d_bias_of_convbn2d(conv2d: _ConvNd, bn2d: _BatchNorm) -> Tensor:
    """The bias of the one convolution that equals ``bn2d(conv2d(x))`` in eval mode.

    ``beta - mu * gamma / sqrt(var + eps)``, with ``beta``, ``gamma``, ``mu`` and ``var`` the shift,
    scale, running mean and running variance of ``bn2d``.

    Shape: ``[out_channels]``. Raises as :func:`fused_conv2d_weight_of_convbn2d` does.

    >>> import torch
    >>> from sj_core import functional
    >>> conv, bn = torch.nn.Conv2d(1, 2, 3, bias=False), torch.nn.BatchNorm2d(2, eps=0.0)
    >>> bn.running_mean.fill_(3.0)
    tensor([3., 3.])
    >>> functional.fused_conv2d_bias_of_convbn2d(conv, bn).tolist()
    [-3.0, -3.0]
    """
    _check_pair(conv2d, bn2d)
    return _fused_bias(conv2d, bn2d)


@torch.no_grad()
def scale_fused_conv2d_weight_of_convbn2d(
    conv2d: _ConvNd, bn2d: _BatchNorm, k: Factor = None, b: Factor = None
) -> Tensor:
    """Change ``conv2d`` in place so that the fused weight ``w`` becomes ``k * w + b``.

    ``k`` None means 1, ``b`` None means 0; a tensor of shape ``[out_channels]`` holds one number
    per output channel, any other is broadcast against the weight. Returns the new fused weight.

    Raises as :func:`fused_conv2d_weight_of_convbn2d` does, ``ValueError`` if ``b`` is given and a
    scale of ``bn2d`` is 0, which no weight of the convolution can shift, and ``TypeError`` or
    ``ValueError`` for a factor that is no number and does not fit; then nothing has changed.

    >>> import torch
    >>> from sj_core import functional
    >>> conv, bn = torch.nn.Conv2d(1, 2, 3, bias=False), torch.nn.BatchNorm2d(2)
    >>> before = functional.fused_conv2d_weight_of_convbn2d(conv, bn)
    >>> after = functional.scale_fused_conv2d_weight_of_convbn2d(conv, bn, k=2.0, b=1.0)
    >>> torch.allclose(after, 2 * before + 1)
    True
    """
    _check_pair(conv2d, bn2d)
    k = _factor("k", k, conv2d.weight, conv2d)
    b = _factor("b", b, conv2d.weight, conv2d)
    scale = _scale(bn2d)
    if b is not None:
        _refuse_zero(scale, "weight", b)
    if k is not None:
        conv2d.weight.mul_(k)
    if b is not None:
        conv2d.weight.add_(b / _per_output_channel(conv2d, scale))
    return _fused_weight(conv2d, bn2d)


@torch.no_grad()
def scale_fused_conv2d_bias_of_convbn2d(
    conv2d: _ConvNd, bn2d: _BatchNorm, k: Factor = None, b: Factor = None
) -> Tensor:
    """Change ``bn2d`` in place so that the fused bias ``c`` becomes ``k * c + b``.

    Shift and running mean are multiplied by ``k``, then ``b`` is added to the shift (taken from
    the running mean where ``bn2d`` is not affine). ``k`` None means 1, ``b`` None means 0; tensors
    are of shape ``[out_channels]``. Returns the new fused bias.

    Raises as :func:`scale_fused_conv2d_weight_of_convbn2d` does.

    >>> import torch
    >>> from sj_core import functional
    >>> conv, bn = torch.nn.Conv2d(1, 2, 3, bias=False), torch.nn.BatchNorm2d(2)
    >>> functional.scale_fused_conv2d_bias_of_convbn2d(conv, bn, b=0.5)
    tensor([0.5000, 0.5000])
    """
    _check_pair(conv2d, bn2d)
    mean = _statistic(bn2d.running_mean)
    k, b = _factor("k", k, mean), _factor("b", b, mean)
    shift: Tensor | None = bn2d.bias
    if b is not None and shift is None:
        _refuse_zero(_scale(bn2d), "bias", b)
    if k is not None:
        mean.mul_(k)
        if shift is not None:
            shift.mul_(k)
    if b is not None:
        if shift is not None:
            shift.add_(b)
        else:
            mean.sub_(b / _scale(bn2d))
    return _fused_bias(conv2d, bn2d)


@torch.no_grad()
def fuse_convbn2d(conv2d: _ConvNd, bn2d: _BatchNorm) -> _ConvNd:
    """A new convolution that equals ``bn2d(conv2d(x))`` in eval mode; the two stay as they are.

    Weight ``W * gamma / sqrt(var + eps)``, bias ``beta - mu * gamma / sqrt(var + eps)``. Class,
    device, dtype, stride, padding, padding mode, dilation, groups, step mode and training flag are
    those of ``conv2d``; the parameters require gradients where its weight does.

    Raises as :func:`fused_conv2d_weight_of_convbn2d` does.

    >>> import torch
    >>> from sj_core import functional
    >>> conv, bn = torch.nn.Conv2d(1, 2, 3, bias=False), torch.nn.BatchNorm2d(2).eval()
    >>> fused, x = functional.fuse_convbn2d(conv, bn), torch.randn(1, 1, 8, 8)
    >>> torch.allclose(fused(x), bn(conv(x)), atol=1e-6)
    True
    """
    _check_pair(conv2d, bn2d)
    fused = copy.deepcopy(conv2d)
    learns = conv2d.weight.requires_grad
    fused.weight = nn.Parameter(_fused_weight(conv2d, bn2d), learns)
    fused.bias = nn.Parameter(_fused_bias(conv2d, bn2d), learns)
    return fused


def _check_pair(conv: Any, bn: Any) -> None:
    if not isinstance(conv, _ConvNd):
        raise TypeError(f"`conv2d` (a {type(conv).__name__}) must be a convolution.")
    if not isinstance(bn, _BatchNorm):
        raise TypeError(f"`bn2d` (a {type(bn).__name__}) must be a batch normalisation.")
    if conv.bias is not None:
        raise ValueError(
            "`conv2d` has a bias, which the batch normalisation after it makes useless: build it "
            "with `bias=False`."
        )
    if conv.out_channels != bn.num_features:
        raise ValueError(
            f"`bn2d` has {bn.num_features} features and must have {conv.out_channels}, the output "
            "channels of `conv2d`."
        )
    if bn.running_mean is None or bn.running_var is None:
        raise ValueError(
            "`bn2d` keeps no running statistics: build it with the default "
            "`track_running_stats=True`."
        )


def _refuse_zero(scale: Tensor, what: str, b: float | Tensor) -> None:
    if bool((scale == 0).any()):
        raise ValueError(
            f"`b` (={b}) cannot be added to the fused {what}: the scale of `bn2d` is 0 in "
            f"channel {int((scale == 0).nonzero()[0])}."
        )


def _statistic(value: Tensor | None) -> Tensor:
    assert value is not None  # _check_pair has seen to it
    return value


def _wide(x: Tensor) -> Tensor:
    """``x``, in float32 if it is of half precision: what is fused is rounded once, at the end."""
    return x if x.dtype == torch.float64 else x.float()


def _scale(bn: _BatchNorm) -> Tensor:
    """gamma / sqrt(var + eps)."""
    scale = (_wide(_statistic(bn.running_var)) + bn.eps).rsqrt()
    return scale if bn.weight is None else bn.weight * scale


def _fused_weight(conv: _ConvNd, bn: _BatchNorm) -> Tensor:
    return (conv.weight * _per_output_channel(conv, _scale(bn))).to(conv.weight.dtype)


def _fused_bias(conv: _ConvNd, bn: _BatchNorm) -> Tensor:
    shift = -_wide(_statistic(bn.running_mean)) * _scale(bn)
    if bn.bias is not None:
        shift = bn.bias + shift
    return shift.to(conv.weight.dtype)


def _per_output_channel(conv: _ConvNd, x: Tensor) -> Tensor:
    """``x`` of shape ``[out_channels]``, shaped for the weight of ``conv``."""
    ones = (1,) * len(conv.kernel_size)
    if not isinstance(conv, _ConvTransposeNd):
        return x.reshape(-1, 1, *ones)
    # [in_channels, out_channels / groups, ...]: the input channels of a group are neighbours.
    inputs = conv.in_channels // conv.groups
    return (
        x.reshape(conv.groups, -1).repeat_interleave(inputs, 0).reshape(conv.in_channels, -1, *ones)
    )


def _factor(name: str, value: Factor, target: Tensor, conv: _ConvNd | None = None) -> Factor:
    """``value`` in a shape that fits ``target``: the weight of ``conv``, or a statistic."""
    if value is None:
        return None
    if not isinstance(value, Tensor):
        return as_float(name, value)
    if conv is not None and value.shape == (conv.out_channels,):
        return _per_output_channel(conv, value)
    try:
        value.expand_as(target)
    except RuntimeError:
        raise ValueError(
            f"`{name}` has shape {list(value.shape)} and must be a number or fit the shape "
            f"{list(target.shape)}."
        ) from None
    return value

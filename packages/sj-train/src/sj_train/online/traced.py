"""Layers' functions with weight gradients from the trace of the spikes, values from the spikes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

CONVOLUTIONS = {1: torch.conv1d, 2: torch.conv2d, 3: torch.conv3d}
TRANSPOSED = {1: torch.conv_transpose1d, 2: torch.conv_transpose2d, 3: torch.conv_transpose3d}


class _TracedLinear(torch.autograd.Function):
    """y = s W^T + b; dW = g^T a, db = sum g, ds = g W."""

    @staticmethod
    def forward(
        ctx: Any, spike: Tensor, trace: Tensor, weight: Tensor, bias: Tensor | None
    ) -> Tensor:
        ctx.save_for_backward(trace, weight)
        ctx.spike_dtype = spike.dtype
        ctx.bias_dtype = None if bias is None else bias.dtype
        return F.linear(spike, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Any:
        trace, weight = ctx.saved_tensors
        need_spike, _, need_weight, need_bias = ctx.needs_input_grad
        flat = grad.reshape(-1, grad.shape[-1])
        d_spike = d_weight = d_bias = None
        if need_spike:
            d_spike = (grad @ weight.to(grad.dtype)).to(ctx.spike_dtype)
        if need_weight:
            rows = trace.reshape(-1, trace.shape[-1]).to(grad.dtype)
            d_weight = (flat.t() @ rows).to(weight.dtype)
        if need_bias:
            d_bias = flat.sum(0).to(ctx.bias_dtype)
        return d_spike, None, d_weight, d_bias


class _TracedConvolution(torch.autograd.Function):
    """One convolution forward; its backward reads the trace where it would read the input."""

    @staticmethod
    def forward(
        ctx: Any,
        spike: Tensor,
        trace: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        settings: tuple[Any, ...],
    ) -> Tensor:
        stride, padding, dilation, transposed, output_padding, groups = settings
        ctx.save_for_backward(trace, weight)
        ctx.settings = settings
        ctx.spike_dtype = spike.dtype
        ctx.bias = None if bias is None else (list(bias.shape), bias.dtype)
        axes = spike.dim() - 2
        # `torch.convolution` itself would not follow autocast.
        if transposed:
            return TRANSPOSED[axes](
                spike, weight, bias, stride, padding, output_padding, groups, dilation
            )
        return CONVOLUTIONS[axes](spike, weight, bias, stride, padding, dilation, groups)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Any:
        trace, weight = ctx.saved_tensors
        shape, bias_dtype = (None, None) if ctx.bias is None else ctx.bias
        need_spike, _, need_weight, need_bias, _ = ctx.needs_input_grad
        d_spike, d_weight, d_bias = torch.ops.aten.convolution_backward(
            grad,
            trace.to(grad.dtype),
            weight.to(grad.dtype),
            shape,
            *ctx.settings,
            [need_spike, need_weight, need_bias],
        )
        return (
            d_spike.to(ctx.spike_dtype) if need_spike else None,
            None,
            d_weight.to(weight.dtype) if need_weight else None,
            d_bias.to(bias_dtype) if need_bias else None,
            None,
        )


def _per_axis(value: Any, axes: int) -> list[int]:
    values = list(value) if isinstance(value, tuple | list) else [value]
    return values * axes if len(values) == 1 else values


def traced_linear(
    spike: Tensor, trace: Tensor, weight: Tensor, bias: Tensor | None = None
) -> Tensor:
    """`F.linear(spike, weight, bias)` with the gradient of `weight` taken from `trace`."""
    if weight.dim() == 1:  # F.linear's form without an output axis
        return traced_call(F.linear, spike, trace, (weight, bias), {})
    result: Tensor = _TracedLinear.apply(spike, trace, weight, bias)
    return result


def _convolve(
    axes: int,
    spike: Tensor,
    trace: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    settings: tuple[Any, ...],
) -> Tensor:
    unbatched = spike.dim() == axes + 1
    if unbatched:
        spike, trace = spike.unsqueeze(0), trace.unsqueeze(0)
    result: Tensor = _TracedConvolution.apply(spike, trace, weight, bias, settings)
    return result.squeeze(0) if unbatched else result


def traced_convolution(
    axes: int,
    spike: Tensor,
    trace: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """`F.conv{axes}d` with the gradient of `weight` taken from `trace`."""
    stride, dilation = _per_axis(stride, axes), _per_axis(dilation, axes)
    if padding == "valid":
        padding = 0
    elif padding == "same":
        totals = [d * (k - 1) for d, k in zip(dilation, weight.shape[2:], strict=True)]
        sides = [side for total in reversed(totals) for side in (total // 2, total - total // 2)]
        spike, trace, padding = F.pad(spike, sides), F.pad(trace, sides), 0
    settings = (stride, _per_axis(padding, axes), dilation, False, [0] * axes, groups)
    return _convolve(axes, spike, trace, weight, bias, settings)


def traced_transposed_convolution(
    axes: int,
    spike: Tensor,
    trace: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Tensor:
    """`F.conv_transpose{axes}d` with the gradient of `weight` taken from `trace`."""
    settings = (
        _per_axis(stride, axes),
        _per_axis(padding, axes),
        _per_axis(dilation, axes),
        True,
        _per_axis(output_padding, axes),
        groups,
    )
    return _convolve(axes, spike, trace, weight, bias, settings)


def traced_call(
    func: Callable[..., Tensor],
    spike: Tensor,
    trace: Tensor,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Tensor:
    """`func(spike, *args, **kwargs)`, with the gradients of the weights in `args` at `trace`."""

    def for_value(x: Any) -> Any:
        return x.detach() if isinstance(x, Tensor) and x.requires_grad else x

    def for_weights(x: Any) -> Any:
        # Statistics must move once, with the spikes: the second call gets copies of them.
        return x.clone() if isinstance(x, Tensor) and not x.requires_grad else x

    value = func(
        spike, *(for_value(x) for x in args), **{k: for_value(x) for k, x in kwargs.items()}
    )
    if not torch.is_grad_enabled():
        return value
    at_trace = func(
        trace, *(for_weights(x) for x in args), **{k: for_weights(x) for k, x in kwargs.items()}
    )
    return value + (at_trace - at_trace.detach()) if at_trace.requires_grad else value

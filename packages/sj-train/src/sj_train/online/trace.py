"""Weight gradients from the trace of the spikes, values from the spikes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.overrides import TorchFunctionMode

_CONVOLUTIONS = {1: torch.conv1d, 2: torch.conv2d, 3: torch.conv3d}
_TRANSPOSED = {1: torch.conv_transpose1d, 2: torch.conv_transpose2d, 3: torch.conv_transpose3d}
_AXES = {f: axes for table in (_CONVOLUTIONS, _TRANSPOSED) for axes, f in table.items()}

# Other functions of an input and weights. Convolution and matrix product aside, what a trace of
# the input means for a weight is fixed by evaluating the function at the trace.
_WEIGHTED = {
    F.batch_norm,
    F.instance_norm,
    F.layer_norm,
    F.group_norm,
    F.rms_norm,
    F.prelu,
    torch.matmul,
    torch.mm,
    Tensor.matmul,
    Tensor.mm,
    Tensor.__matmul__,
}

# Linear and the same at every step: the trace of the result is the result of the trace.
_PASSED_ON = {
    torch.flatten,
    torch.reshape,
    torch.permute,
    torch.transpose,
    torch.movedim,
    torch.squeeze,
    torch.unsqueeze,
    Tensor.flatten,
    Tensor.unflatten,
    Tensor.view,
    Tensor.reshape,
    Tensor.permute,
    Tensor.transpose,
    Tensor.movedim,
    Tensor.squeeze,
    Tensor.unsqueeze,
    Tensor.contiguous,
    Tensor.to,
    Tensor.type,
    Tensor.float,
    Tensor.double,
    Tensor.half,
    Tensor.bfloat16,
    F.pad,
    torch._C._nn.pad,
    F.avg_pool1d,
    F.avg_pool2d,
    F.avg_pool3d,
    F.adaptive_avg_pool1d,
    F.adaptive_avg_pool2d,
    F.adaptive_avg_pool3d,
    F.interpolate,
    F.unfold,
    F.pixel_shuffle,
    F.pixel_unshuffle,
}


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
            return _TRANSPOSED[axes](
                spike, weight, bias, stride, padding, output_padding, groups, dilation
            )
        return _CONVOLUTIONS[axes](spike, weight, bias, stride, padding, dilation, groups)

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
    unbatched = spike.dim() == axes + 1
    if unbatched:
        spike, trace = spike.unsqueeze(0), trace.unsqueeze(0)
    settings = (stride, _per_axis(padding, axes), dilation, False, [0] * axes, groups)
    result: Tensor = _TracedConvolution.apply(spike, trace, weight, bias, settings)
    return result.squeeze(0) if unbatched else result


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
    unbatched = spike.dim() == axes + 1
    if unbatched:
        spike, trace = spike.unsqueeze(0), trace.unsqueeze(0)
    settings = (
        _per_axis(stride, axes),
        _per_axis(padding, axes),
        _per_axis(dilation, axes),
        True,
        _per_axis(output_padding, axes),
        groups,
    )
    result: Tensor = _TracedConvolution.apply(spike, trace, weight, bias, settings)
    return result.squeeze(0) if unbatched else result


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


class TraceMode(TorchFunctionMode):
    """
    While it is active, layers that read a spike tensor take their weight gradient from its trace.

    Layers are called as they are, once, with their hooks and whatever they do to their weights;
    the mode replaces the function (`F.linear`, `F.conv2d`, ...) that they call on the spikes.
    `touched` tells whether one did. `trace_of(y)` is the trace of a result that was derived from
    the spikes by reshaping or average pooling alone.
    """

    def __init__(self, spike: Tensor, trace: Tensor) -> None:
        super().__init__()
        # The pairs hold the tensors, so that an id is not given to another one meanwhile.
        self._pairs = {id(spike): (spike, trace)}
        self.touched = False

    def trace_of(self, x: Any) -> Tensor | None:
        """The trace that belongs to the tensor `x`, if there is one."""
        pair = self._pairs.get(id(x))
        return None if pair is None else pair[1]

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = dict(kwargs or {})
        first = args[0] if args else kwargs.get("input")
        pair = self._pairs.get(id(first))
        if pair is None:
            return func(*args, **kwargs)
        spike, trace = pair
        rest = args[1:]
        if not args:
            del kwargs["input"]
        if func is F.linear:
            self.touched = True
            return traced_linear(spike, trace, *rest, **kwargs)
        if func in _AXES:
            self.touched = True
            axes = _AXES[func]
            traced = (
                traced_convolution if func is _CONVOLUTIONS[axes] else traced_transposed_convolution
            )
            return traced(axes, spike, trace, *rest, **kwargs)
        if func in _WEIGHTED:
            self.touched = True
            return traced_call(func, spike, trace, rest, kwargs)
        result = func(spike, *rest, **kwargs)
        if func in _PASSED_ON:
            with torch.no_grad():
                self._pairs[id(result)] = (result, func(trace, *rest, **kwargs))
        return result

"""The mode that has layers take their weight gradients from the trace of their input."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from sj_train.online.traced import (
    CONVOLUTIONS,
    TRANSPOSED,
    traced_call,
    traced_convolution,
    traced_linear,
    traced_transposed_convolution,
)

_AXES = {f: axes for table in (CONVOLUTIONS, TRANSPOSED) for axes, f in table.items()}

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
        # Few, and found by identity: a number that stands for it would be compiled in.
        self._pairs = [(spike, trace)]
        self.touched = False

    def trace_of(self, x: Any) -> Tensor | None:
        """The trace that belongs to the tensor `x`, if there is one."""
        for spike, trace in self._pairs:
            if spike is x:
                return trace
        return None

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = dict(kwargs or {})
        first: Any = args[0] if args else kwargs.get("input")
        trace = self.trace_of(first)
        if trace is None:
            return func(*args, **kwargs)
        spike = first
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
                traced_convolution if func is CONVOLUTIONS[axes] else traced_transposed_convolution
            )
            return traced(axes, spike, trace, *rest, **kwargs)
        if func in _WEIGHTED:
            self.touched = True
            return traced_call(func, spike, trace, rest, kwargs)
        result = func(spike, *rest, **kwargs)
        if func in _PASSED_ON:
            with torch.no_grad():
                self._pairs.append((result, func(trace, *rest, **kwargs)))
        return result

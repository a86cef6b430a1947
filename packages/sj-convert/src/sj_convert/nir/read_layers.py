"""The layers of NIR nodes without a state, and delays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from sj_convert.nir.euler import NeuronDelay, as_buffer
from sj_convert.nir.extra import as_array, text
from sj_convert.nir.values import uniform
from sj_core import layer


def _with(module: Any, weight: Any, bias: Any = None) -> Any:
    module.weight = nn.Parameter(as_buffer(as_array(weight)))
    if bias is not None:
        module.bias = nn.Parameter(as_buffer(as_array(bias)))
    return module


def linear(node: Any, dt: float) -> nn.Module:
    weight = as_array(node.weight)
    bias = getattr(node, "bias", None)
    if weight.ndim != 2:
        raise ValueError(
            f"`weight` (of shape {weight.shape}) of a {type(node).__name__} node must have two "
            "axes."
        )
    # On the meta device nothing is drawn for weights that are replaced at once.
    linear = layer.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, device="meta")
    return _with(linear, weight, bias)


def _sizes(value: Any) -> Any:
    if isinstance(value, str | bytes):
        return text(value)
    array = as_array(value).astype(int).flatten().tolist()
    return array[0] if len(array) == 1 else tuple(array)


def conv(cls: type[nn.Module]) -> Callable[[Any, float], nn.Module]:
    def read(node: Any, dt: float) -> nn.Module:
        weight = as_array(node.weight)
        groups = int(node.groups)
        conv = cls(
            weight.shape[1] * groups,
            weight.shape[0],
            tuple(weight.shape[2:]),
            stride=_sizes(node.stride),
            padding=_sizes(node.padding),
            dilation=_sizes(node.dilation),
            groups=groups,
            bias=node.bias is not None,
            device="meta",
        )
        return _with(conv, weight, node.bias)

    return read


def pool(sums: bool) -> Callable[[Any, float], nn.Module]:
    def read(node: Any, dt: float) -> nn.Module:
        sizes = (_sizes(node.kernel_size), _sizes(node.stride), _sizes(node.padding))
        return layer.AvgPool2d(*sizes, divisor_override=1 if sums else None)

    return read


def flatten(node: Any, dt: float) -> nn.Module:
    # NIR counts the axes of one sample, torch those behind the batch.
    start, end = int(node.start_dim), int(node.end_dim)
    shape = None if node.input_type is None else node.input_type.get("input")
    if shape is not None and len(np.atleast_1d(as_array(shape))) == 1:
        start = 0
    return layer.Flatten(start + (start >= 0), end + (end >= 0))


def delay(node: Any, dt: float) -> nn.Module:
    steps = np.rint(as_array(node.delay) / dt)
    if (steps < 0).any():
        raise ValueError(f"`delay` (={as_array(node.delay).min()}) must not be negative.")
    same = uniform(steps)
    if same is not None:
        return layer.Delay(int(same))
    return NeuronDelay(torch.as_tensor(steps))

"""The NIR nodes of layers without a state, and of delays."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import fx, nn

from sj_convert.nir.euler import NeuronDelay
from sj_convert.nir.extra import as_array
from sj_convert.nir.target import Target, full, through
from sj_convert.trace import source_line


def affine(to: Target, module: Any, shape: tuple[int, ...], at: fx.Node) -> Any:
    if len(shape) != 1:
        raise ValueError(
            f"`net` has `{at.target}` (Linear) at {source_line(at)} on samples of shape "
            f"{list(shape)}; NIR's Linear takes vectors: flatten before it."
        )
    if module.bias is None:
        return to.nir.Linear(as_array(module.weight))
    return to.nir.Affine(as_array(module.weight), as_array(module.bias))


def conv(to: Target, module: Any, shape: tuple[int, ...], at: fx.Node) -> Any:
    if module.padding_mode != "zeros":
        raise ValueError(
            f"`net` has `{at.target}` at {source_line(at)} with `padding_mode` "
            f"(={module.padding_mode!r}); NIR pads with zeros."
        )
    one = isinstance(module, nn.Conv1d)
    bias = np.zeros(module.out_channels) if module.bias is None else as_array(module.bias)

    def size(value: Any) -> Any:
        return value[0] if one and isinstance(value, tuple) else value

    node = (to.nir.Conv1d if one else to.nir.Conv2d)(
        input_shape=shape[1] if one else tuple(shape[1:]),
        weight=as_array(module.weight),
        stride=size(module.stride),
        padding=size(module.padding),
        dilation=size(module.dilation),
        groups=module.groups,
        bias=bias,
    )
    # nir takes no account of groups and of kernels that are not square.
    node.input_type = {"input": np.array(shape)}
    node.output_type = {"output": np.array(through(module, shape))}
    return node


def pool(to: Target, module: Any, shape: tuple[int, ...], at: fx.Node) -> Any:
    pair = nn.modules.utils._pair
    kernel, padding = pair(module.kernel_size), pair(module.padding)
    stride = pair(module.stride if module.stride is not None else module.kernel_size)
    area = kernel[0] * kernel[1]
    plain = not module.ceil_mode and (module.count_include_pad or padding == (0, 0))
    if not plain or module.divisor_override not in (None, 1, area):
        raise ValueError(
            f"`net` has `{at.target}` (AvgPool2d) at {source_line(at)} with ceil_mode, padding "
            "that is not counted, or a divisor, which NIR does not express."
        )
    sums = module.divisor_override == 1 and area != 1
    kind = to.nir.SumPool2d if sums else to.nir.AvgPool2d
    return kind(*(np.array(v) for v in (kernel, stride, padding)))


def flatten(to: Target, module: Any, shape: tuple[int, ...], at: fx.Node) -> Any:
    rank = len(shape) + 1
    start, end = module.start_dim % rank, module.end_dim % rank
    if start == 0:
        raise ValueError(f"`net` flattens the batch into `{at.target}`, which NIR does not know.")
    last = -1 if end == rank - 1 else end - 1
    return to.nir.Flatten({"input": np.array(shape)}, start_dim=start - 1, end_dim=last)


def scale(to: Target, module: Any, shape: tuple[int, ...], at: fx.Node) -> Any:
    return to.nir.Scale(full(shape, module.scale))


def threshold(to: Target, module: Any, shape: tuple[int, ...], at: fx.Node) -> Any:
    return to.nir.Threshold(full(shape, module.threshold))


def delay(to: Target, module: Any, shape: tuple[int, ...], at: fx.Node) -> Any:
    steps = module.steps.double() if isinstance(module, NeuronDelay) else module.delay_steps
    return to.nir.Delay(full(shape, steps) * to.dt)

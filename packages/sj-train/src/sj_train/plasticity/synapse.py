"""Products of presynaptic and postsynaptic activity, synapse by synapse, for any layer."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Synapse = nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d

_AXES: dict[type, int] = {nn.Linear: 0, nn.Conv1d: 1, nn.Conv2d: 2, nn.Conv3d: 3}


def axes_of(synapse: nn.Module) -> int:
    """Number of spatial axes of a layer, 0 for Linear; `TypeError` for other layers."""
    for kind, axes in _AXES.items():
        if isinstance(synapse, kind):
            return axes
    raise TypeError(
        f"`synapse` (a {type(synapse).__name__}) must be Linear, Conv1d, Conv2d or Conv3d."
    )


def batched(synapse: Any, pre: Tensor, post: Tensor) -> tuple[Tensor, Tensor]:
    """
    Activities of one step as `[N, C, *]`, a missing batch axis added; `ValueError` if they do not
    fit the layer.
    """
    axes = axes_of(synapse)
    if pre.dim() == post.dim() == axes + 1:
        pre, post = pre.unsqueeze(0), post.unsqueeze(0)
    channels_in = synapse.weight.shape[1] * getattr(synapse, "groups", 1)
    spatial: tuple[int, ...] | None = None
    if pre.dim() == axes + 2:
        spatial = tuple(
            (size + pad - dilation * (kernel - 1) - 1) // stride + 1
            for size, pad, dilation, kernel, stride in _geometry(synapse, pre.shape[2:])
        )
    expected = (pre.shape[0], synapse.weight.shape[0], *(spatial or ()))
    if spatial is None or pre.shape[1] != channels_in or tuple(post.shape) != expected:
        raise ValueError(
            f"Spikes before and after {type(synapse).__name__} (shapes {tuple(pre.shape)} and "
            f"{tuple(post.shape)} in one step) must have {channels_in} and "
            f"{synapse.weight.shape[0]} channels, the same batch and the sizes that the layer "
            "makes; check `step_mode` and that `sn` reads the output of `synapse`."
        )
    return pre, post


def products(synapse: Any, pre: Tensor, post: Tensor) -> Tensor:
    r"""
    Sum over batch and places of post times pre, in the shape of the weight.

    It is the weight gradient of the layer for the input `pre` and the output gradient `post`:
    :math:`\sum_n post[n, o]\, pre[n, i]` for Linear, with each weight of a convolution summed over
    all places where it stands. At least in float32.
    """
    weight = synapse.weight.detach()
    # Sums over many spikes are rounded away in half precision.
    dtype = torch.promote_types(weight.dtype, torch.float32)
    pre, post = pre.to(dtype), post.to(dtype)
    axes = axes_of(synapse)
    if axes == 0:
        return post.t() @ pre
    padding = list(synapse._reversed_padding_repeated_twice)
    if any(padding):
        mode = "constant" if synapse.padding_mode == "zeros" else synapse.padding_mode
        pre = F.pad(pre, padding, mode=mode)
    gradients = torch.ops.aten.convolution_backward(
        post,
        pre,
        weight.to(dtype),
        None,
        list(synapse.stride),
        [0] * axes,
        list(synapse.dilation),
        False,
        [0] * axes,
        synapse.groups,
        [False, True, False],
    )
    result: Tensor = gradients[1]
    return result


def products_per_sample(synapse: Any, pre: Tensor, post: Tensor) -> Tensor:
    """`products` of each sample, `[N, *weight.shape]`."""
    if axes_of(synapse) == 0:
        dtype = torch.promote_types(synapse.weight.dtype, torch.float32)
        return post.to(dtype).unsqueeze(2) * pre.to(dtype).unsqueeze(1)
    pairs = zip(pre.split(1), post.split(1), strict=True)
    return torch.stack([products(synapse, *pair) for pair in pairs])


def _geometry(synapse: Any, sizes: torch.Size) -> list[tuple[int, int, int, int, int]]:
    if axes_of(synapse) == 0:
        return []
    sides = synapse._reversed_padding_repeated_twice
    pads = [sides[i] + sides[i + 1] for i in range(0, len(sides), 2)][::-1]
    return list(
        zip(sizes, pads, synapse.dilation, synapse.kernel_size, synapse.stride, strict=True)
    )

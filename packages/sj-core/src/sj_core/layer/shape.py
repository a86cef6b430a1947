"""Layers that change a step's shape: flatten and upsample."""

from typing import Any

import torch
from torch import Tensor, nn

from sj_core.layer.fold import FoldTime

_is_compiling = torch.compiler.is_compiling
_is_tracing = torch.jit.is_tracing


class Flatten(FoldTime, nn.Flatten):
    """:class:`torch.nn.Flatten` with a step mode: flattens each step, never the time axis.

    ``start_dim`` and ``end_dim`` count the axes of one step ``[N, *]`` in both modes. A view
    where the memory allows it. Of a channels-last input, which must be copied, the gradient is
    channels-last again: a pool before it would go back up to ten times slower on torch's own.

    Shapes: ``[N, *]`` with ``step_mode='s'``, ``[T, N, *]`` with ``'m'``.

    Raises ``ValueError`` for another rank, ``IndexError`` for an axis that a step has not.

    >>> import torch
    >>> from sj_core import layer
    >>> layer.Flatten(step_mode="m")(torch.zeros(4, 2, 3, 8, 8)).shape
    torch.Size([4, 2, 192])
    """

    step_shapes = ("N, *",)

    def forward(self, input: Any, *args: Any, **kwargs: Any) -> Any:
        channels = 1 if self._step_mode == "s" else 2
        return super().forward(_with_its_layout(input, channels), *args, **kwargs)

    def sequence_forward(self, x_seq: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        rank = x_seq.dim() - 1
        start, end = (
            _axis_of_sequence(dim, rank, name)
            for dim, name in ((self.start_dim, "start_dim"), (self.end_dim, "end_dim"))
        )
        return x_seq.flatten(start, end)


def _with_its_layout(x: Any, channels: int) -> Any:
    """``x``, channels-last, such that its gradient is so too: the copy's has the axes in order."""
    if (
        x.__class__ is not Tensor
        or not x.requires_grad
        or x.dim() <= channels
        or x.stride(channels) != 1
        or x.is_contiguous()
        or _is_compiling()
        or _is_tracing()  # the strides would be constants of what is traced
    ):
        return x
    strides = x.stride()
    # torch keeps the strides of a tensor without gaps or overlaps, and only of such.
    if torch.empty_like(x, device="meta").stride() != strides:
        return x
    return x.as_strided(x.shape, strides)  # its backward copies into the strides of its input


def _axis_of_sequence(dim: int, rank: int, name: str) -> int:
    if not -rank <= dim < rank:
        raise IndexError(
            f"`{name}` (={dim}) must be in [{-rank}, {rank - 1}]: a step has {rank} axes."
        )
    return dim % rank + 1


class Upsample(FoldTime, nn.Upsample):
    """:class:`torch.nn.Upsample` with a step mode: interpolates each step, never over time.

    Shapes: ``[N, C, L]``, ``[N, C, H, W]`` or ``[N, C, D, H, W]`` with ``step_mode='s'``, the
    same behind a ``T`` with ``'m'``.

    Raises ``ValueError`` for another rank.

    >>> import torch
    >>> from sj_core import layer
    >>> layer.Upsample(scale_factor=2, step_mode="m")(torch.zeros(4, 2, 3, 8, 8)).shape
    torch.Size([4, 2, 3, 16, 16])
    """

    step_shapes = ("N, C, L", "N, C, H, W", "N, C, D, H, W")

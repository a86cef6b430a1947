"""Layers that change a step's shape: flatten and upsample."""

from typing import Any

from torch import Tensor, nn

from sj_core.layer.fold import FoldTime


class Flatten(FoldTime, nn.Flatten):
    """:class:`torch.nn.Flatten` with a step mode: flattens each step, never the time axis.

    ``start_dim`` and ``end_dim`` count the axes of one step ``[N, *]`` in both modes. A view
    where the memory allows it.

    Shapes: ``[N, *]`` with ``step_mode='s'``, ``[T, N, *]`` with ``'m'``.

    Raises ``ValueError`` for another rank, ``IndexError`` for an axis that a step has not.

    >>> import torch
    >>> from sj_core import layer
    >>> layer.Flatten(step_mode="m")(torch.zeros(4, 2, 3, 8, 8)).shape
    torch.Size([4, 2, 192])
    """

    step_shapes = ("N, *",)

    def sequence_forward(self, x_seq: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        rank = x_seq.dim() - 1
        start, end = (
            _axis_of_sequence(dim, rank, name)
            for dim, name in ((self.start_dim, "start_dim"), (self.end_dim, "end_dim"))
        )
        return x_seq.flatten(start, end)


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

"""Convolutions with a step mode."""

from typing import Any

from torch import Tensor, nn

from sj_core.layer.fold import FoldTime


class Conv1d(FoldTime, nn.Conv1d):
    """:class:`torch.nn.Conv1d` with a step mode: the same weights at every time step.

    ``y[t] = weight (*) x[t] + bias``, computed by one call on ``T * N`` signals.

    Shapes: ``[N, C, L]`` (or ``[C, L]``) with ``step_mode='s'``, ``[T, N, C, L]`` with ``'m'``.

    Raises ``ValueError`` for another rank.

    >>> import torch
    >>> from sj_core import layer
    >>> layer.Conv1d(2, 3, kernel_size=3, step_mode="m")(torch.zeros(4, 1, 2, 8)).shape
    torch.Size([4, 1, 3, 6])
    """

    step_shapes = ("N, C, L", "C, L")


class Conv2d(FoldTime, nn.Conv2d):
    """:class:`torch.nn.Conv2d` with a step mode: the same weights at every time step.

    ``y[t] = weight (*) x[t] + bias``, computed by one call on ``T * N`` images. Channels-last
    sequences stay channels-last and nothing is copied.

    Shapes: ``[N, C, H, W]`` (or ``[C, H, W]``) with ``step_mode='s'``,
    ``[T, N, C, H, W]`` with ``'m'``.

    Raises ``ValueError`` for another rank.

    >>> import torch
    >>> from sj_core import layer
    >>> layer.Conv2d(1, 6, kernel_size=3, padding=1, step_mode="m")(
    ...     torch.zeros(4, 2, 1, 8, 8)
    ... ).shape
    torch.Size([4, 2, 6, 8, 8])
    """

    step_shapes = ("N, C, H, W", "C, H, W")


class Conv3d(FoldTime, nn.Conv3d):
    """:class:`torch.nn.Conv3d` with a step mode: the same weights at every time step.

    ``y[t] = weight (*) x[t] + bias``, computed by one call on ``T * N`` volumes.

    Shapes: ``[N, C, D, H, W]`` (or ``[C, D, H, W]``) with ``step_mode='s'``,
    ``[T, N, C, D, H, W]`` with ``'m'``.

    Raises ``ValueError`` for another rank.

    >>> import torch
    >>> from sj_core import layer
    >>> layer.Conv3d(1, 2, kernel_size=2, step_mode="m")(torch.zeros(3, 1, 1, 4, 4, 4)).shape
    torch.Size([3, 1, 2, 3, 3, 3])
    """

    step_shapes = ("N, C, D, H, W", "C, D, H, W")


class _FoldTimeTransposed(FoldTime):
    """Takes ``output_size`` with or without the leading axes of the sequence."""

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Any:
        if output_size is not None:
            output_size = list(output_size)[-len(self.kernel_size) :]  # type: ignore[attr-defined]
        return super().forward(input, output_size)


class ConvTranspose1d(_FoldTimeTransposed, nn.ConvTranspose1d):
    """:class:`torch.nn.ConvTranspose1d` with a step mode: the same weights at every time step.

    Shapes: ``[N, C, L]`` (or ``[C, L]``) with ``step_mode='s'``, ``[T, N, C, L]`` with ``'m'``.
    ``output_size`` is that of the last axis, or the whole shape.

    Raises ``ValueError`` for another rank.

    >>> import torch
    >>> from sj_core import layer
    >>> layer.ConvTranspose1d(2, 3, kernel_size=2, stride=2, step_mode="m")(
    ...     torch.zeros(4, 1, 2, 8)
    ... ).shape
    torch.Size([4, 1, 3, 16])
    """

    step_shapes = ("N, C, L", "C, L")


class ConvTranspose2d(_FoldTimeTransposed, nn.ConvTranspose2d):
    """:class:`torch.nn.ConvTranspose2d` with a step mode: the same weights at every time step.

    Shapes: ``[N, C, H, W]`` (or ``[C, H, W]``) with ``step_mode='s'``,
    ``[T, N, C, H, W]`` with ``'m'``. ``output_size`` is that of the last two axes, or the
    whole shape.

    Raises ``ValueError`` for another rank.

    >>> import torch
    >>> from sj_core import layer
    >>> layer.ConvTranspose2d(2, 3, kernel_size=2, stride=2, step_mode="m")(
    ...     torch.zeros(4, 1, 2, 8, 8)
    ... ).shape
    torch.Size([4, 1, 3, 16, 16])
    """

    step_shapes = ("N, C, H, W", "C, H, W")


class ConvTranspose3d(_FoldTimeTransposed, nn.ConvTranspose3d):
    """:class:`torch.nn.ConvTranspose3d` with a step mode: the same weights at every time step.

    Shapes: ``[N, C, D, H, W]`` (or ``[C, D, H, W]``) with ``step_mode='s'``,
    ``[T, N, C, D, H, W]`` with ``'m'``. ``output_size`` is that of the last three axes, or
    the whole shape.

    Raises ``ValueError`` for another rank.

    >>> import torch
    >>> from sj_core import layer
    >>> layer.ConvTranspose3d(1, 2, kernel_size=2, step_mode="m")(
    ...     torch.zeros(3, 1, 1, 4, 4, 4)
    ... ).shape
    torch.Size([3, 1, 2, 5, 5, 5])
    """

    step_shapes = ("N, C, D, H, W", "C, D, H, W")

"""Pooling layers with a step mode."""

from torch import nn

from sj_core.layer.fold import FoldTime


class MaxPool1d(FoldTime, nn.MaxPool1d):
    """:class:`torch.nn.MaxPool1d` with a step mode: the maximum over each window.

    Shapes: ``[N, C, L]`` (or ``[C, L]``) with ``step_mode='s'``,
    ``[T, N, C, L]`` with ``'m'``.

    ``return_indices=True`` returns the pair ``(y, indices)``, indices within one step's plane.

    Raises ``ValueError`` for another rank.

    >>> import torch
    >>> from sj_core import layer
    >>> layer.MaxPool1d(2, step_mode="m")(torch.zeros(4, 2, 3, 8)).shape
    torch.Size([4, 2, 3, 4])
    """

    step_shapes = ("N, C, L", "C, L")


class MaxPool2d(FoldTime, nn.MaxPool2d):
    """:class:`torch.nn.MaxPool2d` with a step mode: the maximum over each window.

    Shapes: ``[N, C, H, W]`` (or ``[C, H, W]``) with ``step_mode='s'``,
    ``[T, N, C, H, W]`` with ``'m'``.

    ``return_indices=True`` returns the pair ``(y, indices)``, indices within one step's plane.

    Raises ``ValueError`` for another rank.

    >>> import torch
    >>> from sj_core import layer
    >>> layer.MaxPool2d(2, step_mode="m")(torch.zeros(4, 2, 3, 8, 8)).shape
    torch.Size([4, 2, 3, 4, 4])
    """

    step_shapes = ("N, C, H, W", "C, H, W")


class MaxPool3d(FoldTime, nn.MaxPool3d):
    """:class:`torch.nn.MaxPool3d` with a step mode: the maximum over each window.

    Shapes: ``[N, C, D, H, W]`` (or ``[C, D, H, W]``) with ``step_mode='s'``,
    ``[T, N, C, D, H, W]`` with ``'m'``.

    ``return_indices=True`` returns the pair ``(y, indices)``, indices within one step's plane.

    Raises ``ValueError`` for another rank.

    >>> import torch
    >>> from sj_core import layer
    >>> layer.MaxPool3d(2, step_mode="m")(torch.zeros(2, 1, 3, 4, 4, 4)).shape
    torch.Size([2, 1, 3, 2, 2, 2])
    """

    step_shapes = ("N, C, D, H, W", "C, D, H, W")


class AvgPool1d(FoldTime, nn.AvgPool1d):
    """:class:`torch.nn.AvgPool1d` with a step mode: the mean over each window.

    Shapes: ``[N, C, L]`` (or ``[C, L]``) with ``step_mode='s'``,
    ``[T, N, C, L]`` with ``'m'``.

    Raises ``ValueError`` for another rank.

    >>> import torch
    >>> from sj_core import layer
    >>> layer.AvgPool1d(2, step_mode="m")(torch.zeros(4, 2, 3, 8)).shape
    torch.Size([4, 2, 3, 4])
    """

    step_shapes = ("N, C, L", "C, L")


class AvgPool2d(FoldTime, nn.AvgPool2d):
    """:class:`torch.nn.AvgPool2d` with a step mode: the mean over each window.

    Shapes: ``[N, C, H, W]`` (or ``[C, H, W]``) with ``step_mode='s'``,
    ``[T, N, C, H, W]`` with ``'m'``.

    Raises ``ValueError`` for another rank.

    >>> import torch
    >>> from sj_core import layer
    >>> layer.AvgPool2d(2, step_mode="m")(torch.zeros(4, 2, 3, 8, 8)).shape
    torch.Size([4, 2, 3, 4, 4])
    """

    step_shapes = ("N, C, H, W", "C, H, W")


class AvgPool3d(FoldTime, nn.AvgPool3d):
    """:class:`torch.nn.AvgPool3d` with a step mode: the mean over each window.

    Shapes: ``[N, C, D, H, W]`` (or ``[C, D, H, W]``) with ``step_mode='s'``,
    ``[T, N, C, D, H, W]`` with ``'m'``.

    Raises ``ValueError`` for another rank.

    >>> import torch
    >>> from sj_core import layer
    >>> layer.AvgPool3d(2, step_mode="m")(torch.zeros(2, 1, 3, 4, 4, 4)).shape
    torch.Size([2, 1, 3, 2, 2, 2])
    """

    step_shapes = ("N, C, D, H, W", "C, D, H, W")


class AdaptiveAvgPool1d(FoldTime, nn.AdaptiveAvgPool1d):
    """:class:`torch.nn.AdaptiveAvgPool1d` with a step mode: means over as many windows
    as the output has cells.

    Shapes: ``[N, C, L]`` (or ``[C, L]``) with ``step_mode='s'``,
    ``[T, N, C, L]`` with ``'m'``.

    Raises ``ValueError`` for another rank.

    >>> import torch
    >>> from sj_core import layer
    >>> layer.AdaptiveAvgPool1d(1, step_mode="m")(torch.zeros(4, 2, 3, 8)).shape
    torch.Size([4, 2, 3, 1])
    """

    step_shapes = ("N, C, L", "C, L")


class AdaptiveAvgPool2d(FoldTime, nn.AdaptiveAvgPool2d):
    """:class:`torch.nn.AdaptiveAvgPool2d` with a step mode: means over as many windows
    as the output has cells.

    Shapes: ``[N, C, H, W]`` (or ``[C, H, W]``) with ``step_mode='s'``,
    ``[T, N, C, H, W]`` with ``'m'``.

    Raises ``ValueError`` for another rank.

    >>> import torch
    >>> from sj_core import layer
    >>> layer.AdaptiveAvgPool2d(1, step_mode="m")(torch.zeros(4, 2, 3, 8, 8)).shape
    torch.Size([4, 2, 3, 1, 1])
    """

    step_shapes = ("N, C, H, W", "C, H, W")


class AdaptiveAvgPool3d(FoldTime, nn.AdaptiveAvgPool3d):
    """:class:`torch.nn.AdaptiveAvgPool3d` with a step mode: means over as many windows
    as the output has cells.

    Shapes: ``[N, C, D, H, W]`` (or ``[C, D, H, W]``) with ``step_mode='s'``,
    ``[T, N, C, D, H, W]`` with ``'m'``.

    Raises ``ValueError`` for another rank.

    >>> import torch
    >>> from sj_core import layer
    >>> layer.AdaptiveAvgPool3d(1, step_mode="m")(torch.zeros(2, 1, 3, 4, 4, 4)).shape
    torch.Size([2, 1, 3, 1, 1, 1])
    """

    step_shapes = ("N, C, D, H, W", "C, D, H, W")

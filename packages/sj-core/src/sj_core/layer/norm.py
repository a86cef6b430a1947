"""Normalisations with a step mode."""

from torch import nn

from sj_core.layer.fold import FoldTime


class FoldTimeBatchNorm(FoldTime):
    """Batch normalisations: an empty sequence leaves the running statistics alone."""

    _leaves_empty = True


class BatchNorm1d(FoldTimeBatchNorm, nn.BatchNorm1d):
    """:class:`torch.nn.BatchNorm1d` with a step mode.

    ``y = weight (x - mean) / sqrt(var + eps) + bias`` per channel. With ``step_mode='m'`` mean
    and variance in training run over ``T * N`` (and ``L``), and the running statistics are
    updated once per sequence.

    Shapes: ``[N, C]`` or ``[N, C, L]`` with ``step_mode='s'``, ``[T, N, C]`` or
    ``[T, N, C, L]`` with ``'m'``.

    Raises ``ValueError`` for another rank.

    >>> import torch
    >>> from sj_core import layer
    >>> layer.BatchNorm1d(3, step_mode="m")(torch.randn(4, 2, 3)).mean(
    ...     (0, 1)
    ... ).abs().max() < 1e-6
    tensor(True)
    """

    step_shapes = ("N, C", "N, C, L")


class BatchNorm2d(FoldTimeBatchNorm, nn.BatchNorm2d):
    """:class:`torch.nn.BatchNorm2d` with a step mode.

    ``y = weight (x - mean) / sqrt(var + eps) + bias`` per channel. With ``step_mode='m'`` mean
    and variance in training run over ``T * N``, ``H`` and ``W``, and the running statistics are
    updated once per sequence.

    Shapes: ``[N, C, H, W]`` with ``step_mode='s'``, ``[T, N, C, H, W]`` with ``'m'``.

    Raises ``ValueError`` for another rank.

    >>> import torch
    >>> from sj_core import layer
    >>> y = layer.BatchNorm2d(3, step_mode="m")(torch.randn(4, 2, 3, 8, 8))
    >>> y.mean((0, 1, 3, 4)).abs().max() < 1e-6
    tensor(True)
    """

    step_shapes = ("N, C, H, W",)


class BatchNorm3d(FoldTimeBatchNorm, nn.BatchNorm3d):
    """:class:`torch.nn.BatchNorm3d` with a step mode.

    ``y = weight (x - mean) / sqrt(var + eps) + bias`` per channel. With ``step_mode='m'`` mean
    and variance in training run over ``T * N``, ``D``, ``H`` and ``W``, and the running
    statistics are updated once per sequence.

    Shapes: ``[N, C, D, H, W]`` with ``step_mode='s'``, ``[T, N, C, D, H, W]`` with ``'m'``.

    Raises ``ValueError`` for another rank.

    >>> import torch
    >>> from sj_core import layer
    >>> layer.BatchNorm3d(2, step_mode="m")(torch.randn(3, 2, 2, 4, 4, 4)).shape
    torch.Size([3, 2, 2, 4, 4, 4])
    """

    step_shapes = ("N, C, D, H, W",)


class GroupNorm(FoldTime, nn.GroupNorm):
    """:class:`torch.nn.GroupNorm` with a step mode: each step of each sample by itself.

    ``y = weight (x - mean) / sqrt(var + eps) + bias``, mean and variance over a group of channels
    and the axes after them.

    Shapes: ``[N, C, *]`` with ``step_mode='s'``, ``[T, N, C, *]`` with ``'m'``.

    Raises ``ValueError`` for another rank.

    >>> import torch
    >>> from sj_core import layer
    >>> layer.GroupNorm(2, 4, step_mode="m")(torch.randn(3, 2, 4, 8, 8)).shape
    torch.Size([3, 2, 4, 8, 8])
    """

    step_shapes = ("N, C, *",)


class LayerNorm(FoldTime, nn.LayerNorm):
    """:class:`torch.nn.LayerNorm` with a step mode: each step of each sample by itself.

    ``y = weight (x - mean) / sqrt(var + eps) + bias``, mean and variance over the last axes,
    those of ``normalized_shape``.

    Shapes: ``[N, *, D]`` (or ``[D]``) with ``step_mode='s'``, ``[T, N, *, D]`` with ``'m'``,
    ``D`` standing for the normalized axes.

    Raises ``ValueError`` for another rank.

    >>> import torch
    >>> from sj_core import layer
    >>> layer.LayerNorm(8, step_mode="m")(torch.randn(3, 2, 8)).mean(-1).abs().max() < 1e-6
    tensor(True)
    """

    step_shapes = ("N, *, D", "D")
    _acts_on_last_axes = True

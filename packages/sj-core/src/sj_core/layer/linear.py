"""The linear layer with a step mode."""

from torch import nn

from sj_core.layer.fold import FoldTime


class Linear(FoldTime, nn.Linear):
    """:class:`torch.nn.Linear` with a step mode: the same weights at every time step.

    ``y[t] = x[t] weight^T + bias``, one matrix product for all steps.

    Shapes: ``[N, *, in_features]`` (or ``[in_features]``) with ``step_mode='s'``,
    ``[T, N, *, in_features]`` with ``'m'``.

    Raises ``ValueError`` for another rank.

    >>> import torch
    >>> from sj_core import layer
    >>> layer.Linear(8, 3, step_mode="m")(torch.zeros(4, 2, 8)).shape
    torch.Size([4, 2, 3])
    """

    step_shapes = ("N, *, in_features", "in_features")

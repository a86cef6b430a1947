"""Spatial learning through time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from sj_train.online._loop import train_online


def sltt_online_training(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    x_seq: Tensor,
    target_seq: Tensor,
    f_loss_t: Callable[[Any, Any], Tensor],
    online: bool,
    k: int | None = None,
) -> tuple[Tensor, Tensor]:
    r"""
    Train on one batch of sequences by SLTT, or SLTT-K: no gradient flows through time.

    At each step: forward, :math:`l_t = f(y[t], target[t])`, backward through this step alone, so
    that :math:`dW = \sum_t g_u[t]\, s_{pre}[t]^T`; memory does not depend on T. With `k` (SLTT-K)
    only `k` steps, drawn at random without repetition from torch's CPU generator, have a backward
    pass; the others run without a graph, and time falls with `k` too.

    The memories of `model` are left as the last step made them: call `functional.reset_net`
    between sequences.

    Args:
        model: takes single steps; its neurons may be `SLTTLIFNode` or any other, whose gradient
            becomes the same as every memory is cut after each step.
        optimizer: over the parameters to train.
        x_seq: `[N, T, *]`, batch first.
        target_seq: `[N, T, *]`.
        f_loss_t: the loss of one step, `f_loss_t(y_t, target_t) -> scalar`.
        online: one optimizer step at every time step with a gradient; else the gradients are
            summed and one optimizer step ends the sequence.
        k: number of steps with a gradient, from 1 to T; None means all.

    Returns:
        The sum of the losses over all steps, detached, and the outputs `[N, T, *]`, detached.

    Raises:
        ValueError: `x_seq` and `target_seq` differ in N or T, or are empty; `k` out of range;
            `model` takes sequences.
        TypeError: `k` is no integer.

    Source: Meng et al., Towards Memory- and Time-Efficient Backpropagation for Training Spiking
    Neural Networks (2023).

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from torch.nn import functional as F
        >>> from sj_train.online import SLTTLIFNode
        >>> net = nn.Sequential(nn.Linear(8, 4), SLTTLIFNode(), nn.Linear(4, 2))
        >>> optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        >>> loss, y = sltt_online_training(
        ...     net,
        ...     optimizer,
        ...     x_seq=torch.rand(2, 6, 8),
        ...     target_seq=torch.rand(2, 6, 2),
        ...     f_loss_t=F.mse_loss,
        ...     online=False,
        ...     k=3,
        ... )
        >>> y.shape
        torch.Size([2, 6, 2])
    """
    learn_at: set[int] | None = None
    if k is not None:
        if isinstance(k, bool) or not isinstance(k, int):
            raise TypeError(f"`k` (={k!r}) must be an integer or None.")
        steps = x_seq.shape[1] if x_seq.dim() > 1 else 0
        if not 1 <= k <= steps:
            raise ValueError(f"`k` (={k}) must be from 1 to T (={steps}).")
        learn_at = set(torch.randperm(steps)[:k].tolist())
    return train_online(model, optimizer, x_seq, target_seq, f_loss_t, online, learn_at)

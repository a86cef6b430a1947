"""The loop over time of OTTT and SLTT."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import torch
from torch import Tensor, nn

from sj_core.functional import detach_net
from sj_train.online._sequence import check_lengths, check_single_step


def train_online(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    x_seq: Tensor,
    target_seq: Tensor,
    f_loss_t: Callable[[Any, Any], Tensor],
    online: bool,
    learn_at: Collection[int] | None = None,
) -> tuple[Tensor, Tensor]:
    """Forward and, at the steps of `learn_at` (None: all), backward; one step of time at a time."""
    check_single_step(model)
    check_lengths(x_seq, target_seq, 2, "[N, T]")
    detach_net(model)
    total: Tensor | None = None
    outputs: Tensor | None = None
    if not online:
        optimizer.zero_grad()
    for t in range(x_seq.shape[1]):
        learn = learn_at is None or t in learn_at
        if online and learn:
            optimizer.zero_grad()
        with torch.set_grad_enabled(learn):
            y = model(x_seq[:, t].contiguous())
            if isinstance(y, tuple | list):
                y = y[0]
            loss = f_loss_t(y, target_seq[:, t].contiguous())
        if learn:
            loss.backward()
            if online:
                optimizer.step()
        detach_net(model)
        loss, y = loss.detach(), y.detach()
        total = loss if total is None else total + loss
        # One tensor for all steps: small ones, kept one by one, would fragment the heap.
        if outputs is None:
            outputs = y.new_empty((y.shape[0], x_seq.shape[1], *y.shape[1:]))
        outputs[:, t] = y
    if not online:
        optimizer.step()
    assert total is not None
    assert outputs is not None
    return total, outputs

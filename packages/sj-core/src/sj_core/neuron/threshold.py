"""Thresholds that neurons take: numbers, and tensors that broadcast to a step."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from sj_core._checks import as_float


def as_threshold(value: Any) -> float | Tensor:
    """A threshold as it was given: a number, or a tensor of one value per channel."""
    return value.detach() if isinstance(value, Tensor) else as_float("v_threshold", value)


def broadcast_threshold(threshold: Any, h: Tensor) -> float | Tensor:
    """A threshold as it compares with `h` `(N, *)`, without gradient: `(C,)` lies along axis 1.

    >>> import torch
    >>> from sj_core.neuron.threshold import broadcast_threshold
    >>> broadcast_threshold(torch.ones(3), torch.zeros(2, 3, 4, 4)).shape
    torch.Size([3, 1, 1])
    """
    if not isinstance(threshold, Tensor):
        return float(threshold)
    given = threshold.shape
    if threshold.numel() == 1:
        threshold = threshold.reshape(())
    elif threshold.dim() == 1 and h.dim() > 2:
        threshold = threshold.view(-1, *([1] * (h.dim() - 2)))
    check_threshold(threshold, given, h.shape)
    return threshold.detach().to(h)


def check_threshold(threshold: Tensor, given: torch.Size, step: torch.Size) -> None:
    sizes = zip(reversed(threshold.shape), reversed(step), strict=False)
    if threshold.dim() > len(step) or any(a != 1 and a != b for a, b in sizes):
        raise ValueError(
            f"`v_threshold` has shape {tuple(given)} and must be a number, one value per channel "
            f"(axis 1), or of a shape that broadcasts to a step, which has {tuple(step)}."
        )

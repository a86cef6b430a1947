"""Sums over an epoch that stay exact over batches of different size and over processes."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


class EpochMeter:
    """Mean loss, accuracy and firing rate per sample.

    Only sums are kept, so the mean over unequal batches, or over processes with an unequal number
    of them, is the mean over samples.

    Example:
        >>> meter = EpochMeter()
        >>> logits = torch.tensor([[2.0, 1.0], [0.0, 1.0], [1.0, 0.0]])
        >>> meter.add(torch.tensor(0.5), logits, torch.tensor([0, 1, 1]), torch.tensor(0.2))
        >>> {name: round(value, 3) for name, value in meter.means().items()}
        {'loss': 0.5, 'accuracy': 0.667, 'rate': 0.2}
    """

    NAMES = ("loss", "accuracy", "rate")

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self.sums = torch.zeros(len(self.NAMES) + 1, dtype=torch.float64, device=device)

    def add(self, loss: Tensor, logits: Tensor, target: Tensor, rate: Tensor) -> None:
        """Adds a batch: its mean loss, `logits[N, C]`, `target[N]` and its mean rate."""
        n = len(target)
        correct = (logits.detach().argmax(1) == target).sum()
        parts = (loss.detach() * n, correct, rate * n, torch.tensor(n))
        self.sums += torch.stack([part.to(self.sums) for part in parts])

    def means(self, reduce: Callable[[Tensor], Tensor] | None = None) -> dict[str, float]:
        """The means; `reduce` sums a tensor over processes. Without any sample: {}."""
        # A process without samples still takes part in the sum over processes.
        *values, n = (self.sums if reduce is None else reduce(self.sums)).tolist()
        if n == 0:
            return {}
        return {name: value / n for name, value in zip(self.NAMES, values, strict=True)}

"""The delta encoder."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from sj_core._checks import as_flag, as_positive
from sj_core.base import MemoryModule
from sj_core.encoding.checks import floating, with_time


class DeltaEncoder(MemoryModule):
    """Delta modulation: a spike where the signal has changed enough since the step before.

    Equation: `d = x[t] - x[t-1]`; `S = 1` where `d >= threshold`; with `off_spike=True`, `S = -1`
    where `d <= -threshold`; else 0. The signal before the first step is 0, or, with
    `padding=True`, the first step itself (which then gives no spike).

    Shapes: `(N, *)` ('s') or `(T, N, *)` ('m') to the same shape and dtype.

    Errors: ValueError if `threshold` <= 0; TypeError if `x` is not of a floating dtype;
    RuntimeError if the shape changes without a reset.

    Example:
        >>> import torch
        >>> from sj_core.encoding import DeltaEncoder
        >>> signal = torch.tensor([[0.0], [0.5], [0.6], [0.1]])
        >>> DeltaEncoder(0.3, off_spike=True, step_mode="m")(signal).flatten()
        tensor([ 0.,  1.,  0., -1.])
    """

    previous: Tensor | None

    def __init__(
        self,
        threshold: float = 0.1,
        off_spike: bool = False,
        padding: bool = False,
        step_mode: str = "s",
    ) -> None:
        super().__init__(step_mode)
        self.threshold = as_positive("threshold", threshold)
        if math.isinf(self.threshold):
            raise ValueError(f"`threshold` (={threshold}) must be finite.")
        self.off_spike = as_flag("off_spike", off_spike)
        self.padding = as_flag("padding", padding)
        self.register_memory("previous", None)

    def encode(self, x_seq: Tensor) -> Tensor:
        """Return the spikes of a whole signal `(T, N, *)`; the state is neither read nor set."""
        return self._spikes(x_seq, None)

    def single_step_forward(self, x: Tensor) -> Tensor:
        return self.multi_step_forward(floating(x).unsqueeze(0))[0]

    def multi_step_forward(self, x_seq: Tensor) -> Tensor:
        spikes = self._spikes(x_seq, self.previous)
        if spikes.shape[0]:
            # A copy: the caller may write the next step into the same tensor.
            self.previous = x_seq[-1].detach().clone()
        return spikes

    def _spikes(self, x_seq: Tensor, previous: Tensor | None) -> Tensor:
        if with_time(floating(x_seq)).shape[0] == 0:
            return torch.empty_like(x_seq)
        if previous is None:
            previous = x_seq[0] if self.padding else torch.zeros_like(x_seq[0])
        else:
            self.check_memory("previous", previous, x_seq.shape[1:], x_seq.device)
        change = x_seq - torch.cat([previous.to(x_seq).unsqueeze(0), x_seq[:-1]])
        spikes = (change >= self.threshold).to(x_seq.dtype)
        if self.off_spike:
            spikes = spikes - (change <= -self.threshold).to(x_seq.dtype)
        return spikes

    def extra_repr(self) -> str:
        return (
            f"threshold={self.threshold}, off_spike={self.off_spike}, padding={self.padding}, "
            f"step_mode={self.step_mode!r}"
        )

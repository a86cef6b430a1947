"""A delay line."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from sj_core import base
from sj_core._checks import as_count


class Delay(base.MemoryModule):
    """Delays its input by ``delay_steps`` time steps.

    ``y[t] = x[t - delay_steps]``, and 0 for the first ``delay_steps`` steps after a reset. What
    has not come out at the end of a sequence comes out at the beginning of the next.

    Shapes: ``[N, *]`` with ``step_mode='s'``, ``[T, N, *]`` with ``'m'``. The memory ``queue`` is
    ``[delay_steps, N, *]``, the oldest input first.

    Raises ``TypeError`` if ``delay_steps`` is no integer, ``ValueError`` if it is negative,
    ``RuntimeError`` if the shape of a step changes before a reset.

    >>> import torch
    >>> from sj_core import layer
    >>> line = layer.Delay(1, step_mode="m")
    >>> line(torch.tensor([[1.0], [2.0]])).flatten().tolist()
    [0.0, 1.0]
    >>> line(torch.tensor([[3.0]])).flatten().tolist()
    [2.0]
    """

    queue: Any
    takes_tensors_only = True

    def __init__(self, delay_steps: int, step_mode: str = "s") -> None:
        super().__init__(step_mode)
        self._delay_steps = as_count("delay_steps", delay_steps, 0)
        self.register_memory("queue", None)

    @property
    def delay_steps(self) -> int:
        """The delay, in time steps."""
        return self._delay_steps

    def single_step_forward(self, x: Tensor) -> Tensor:
        return self.multi_step_forward(x.unsqueeze(0)).squeeze(0)

    def multi_step_forward(self, x_seq: Tensor) -> Tensor:
        steps, time_steps = self._delay_steps, x_seq.shape[0]
        if steps == 0 or time_steps == 0:
            return x_seq
        queue = self._queue_for(x_seq)
        line = torch.cat((queue, x_seq))
        # A copy: a view would keep the whole sequence in memory until the next call.
        self.queue = line[time_steps:].clone()
        return line[:time_steps]

    def _queue_for(self, x_seq: Tensor) -> Tensor:
        shape = torch.Size((self._delay_steps, *x_seq.shape[1:]))
        if self.queue is None:
            return x_seq.new_zeros(shape)
        queue: Tensor = self.queue
        self.check_memory("queue", queue[0], x_seq.shape[1:], x_seq.device)
        return queue if queue.dtype == x_seq.dtype else queue.to(x_seq.dtype)

    def extra_repr(self) -> str:
        return f"delay_steps={self.delay_steps}, step_mode={self.step_mode!r}"

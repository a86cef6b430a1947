"""Max pooling of spikes and currents over time."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from sj_core.base import MemoryModule

MAX_POOL_FORMS = ("running", "gate", "spikes")


def cumulated(x_seq: Tensor, start: Tensor) -> Tensor:
    """``start + x_1 + ... + x_t`` for each t, added step by step: `cumsum` rounds otherwise."""
    if not _plain(x_seq) or start.requires_grad:
        totals, total = [], start
        for x in x_seq.unbind(0):
            total = total + x
            totals.append(total)
        return torch.stack(totals)
    out = torch.empty_like(x_seq, dtype=start.dtype)
    total = start
    for x, target in zip(x_seq.unbind(0), out.unbind(0), strict=True):
        total = torch.add(total, x, out=target)
    return out


def _empty_sequence(step: Tensor, T: int, dtype: torch.dtype) -> Tensor:
    """Memory for T steps in the layout of one: channels-last stays so."""
    strides = (step.numel(), *step.stride())
    return torch.empty_strided((T, *step.shape), strides, dtype=dtype, device=step.device)


def _plain(x: Tensor) -> bool:
    # Whether results may be written into memory of ours: no graph is being recorded.
    recording = torch.is_grad_enabled() and x.requires_grad
    functorch = torch._C._functorch.maybe_current_level() is not None
    return not (recording or functorch or torch.compiler.is_compiling())


class _PoolOverTime(MemoryModule):
    """A max pool and the cumulative input that its form over time looks at."""

    keeps_step_mode_of_children = True

    def __init__(self, pool: nn.Module, *, step_mode: str = "s") -> None:
        super().__init__(step_mode)
        self.pool = pool
        self.total: Any
        self.register_memory("total", 0.0)


class RunningMaxPool(_PoolOverTime):
    r"""The max pool of the cumulative input, given out as its increments.

    :math:`y_t = M(X_t) - M(X_{t-1})`, with M the pool and :math:`X_t = x_1 + ... + x_t`. Summed up
    to any t it is the pool of the summed input, exactly, whatever the order in which spikes
    arrive; the output is graded and may be negative.

    Shapes: ``(N, C, *)`` ('s') or ``(T, N, C, *)`` ('m') in; the pool's shape out.

    Example:
        >>> pool = RunningMaxPool(nn.MaxPool1d(2), step_mode="m")
        >>> pool(torch.tensor([[[[1.0, 0.0]]], [[[0.0, 1.0]]], [[[0.0, 1.0]]]])).flatten().tolist()
        [1.0, 0.0, 1.0]
    """

    def __init__(self, pool: nn.Module, *, step_mode: str = "s") -> None:
        super().__init__(pool, step_mode=step_mode)
        self.pooled: Any
        self.register_memory("pooled", 0.0)

    def single_step_forward(self, x: Tensor) -> Tensor:
        self.total = self.memory_like("total", x) + x
        pooled = self.pool(self.total)
        y: Tensor = pooled - self.pooled
        self.pooled = pooled
        return y.to(x.dtype)

    def multi_step_forward(self, x_seq: Tensor) -> Tensor:
        if x_seq.shape[0] == 0:
            return super().multi_step_forward(x_seq)
        start = self.memory_like("total", x_seq[0])
        if not _plain(x_seq) or start.requires_grad:
            steps = [self.single_step_forward(x) for x in x_seq.unbind(0)]
            return torch.stack(steps)
        # Step by step in place: one step stays in cache, where the sums of all would not.
        total = torch.empty_like(x_seq[0], dtype=start.dtype).copy_(start)
        for t, x in enumerate(x_seq.unbind(0)):
            pooled = self.pool(total.add_(x))
            if t == 0:
                y = _empty_sequence(pooled, x_seq.shape[0], x_seq.dtype)
            before = torch.as_tensor(self.pooled, dtype=pooled.dtype, device=pooled.device)
            torch.sub(pooled, before, out=y[t])
            self.pooled = pooled
        self.total = total
        return y


class GatedMaxPool(_PoolOverTime):
    """Pass, in each window, the spike of the input with the largest running sum so far.

    ``y_t = x_t[argmax X_t]`` with X the cumulative input (its own step included) and the first of
    equals. The output is binary where the input is: a form for hardware.

    Shapes: ``(N, C, *)`` ('s') or ``(T, N, C, *)`` ('m') in; the pool's shape out.

    Rueckauer et al., "Conversion of continuous-valued deep networks to efficient event-driven
    networks for image classification" (2017).

    Example:
        >>> pool = GatedMaxPool(nn.MaxPool1d(2), step_mode="m")
        >>> pool(torch.tensor([[[[1.0, 0.0]]], [[[0.0, 1.0]]], [[[0.0, 1.0]]]])).flatten().tolist()
        [1.0, 0.0, 1.0]
    """

    def __init__(self, pool: nn.Module, *, step_mode: str = "s") -> None:
        super().__init__(pool, step_mode=step_mode)
        pool.return_indices = True  # type: ignore[assignment]

    def single_step_forward(self, x: Tensor) -> Tensor:
        self.total = self.memory_like("total", x) + x
        return self._gate(x, self.total)

    def multi_step_forward(self, x_seq: Tensor) -> Tensor:
        if x_seq.shape[0] == 0:
            return super().multi_step_forward(x_seq)
        totals = cumulated(x_seq, self.memory_like("total", x_seq[0]))
        self.total = totals[-1].clone()
        return self._gate(x_seq.flatten(0, 1), totals.flatten(0, 1)).unflatten(0, x_seq.shape[:2])

    def _gate(self, x: Tensor, total: Tensor) -> Tensor:
        _, index = self.pool(total)
        return x.flatten(2).gather(2, index.flatten(2)).view(index.shape)


def pool_over_time(pool: nn.Module, form: str) -> nn.Module:
    """The form of `pool` for spikes: 'running', 'gate', or 'spikes' (at every step on its own)."""
    if form == "running":
        return RunningMaxPool(pool)
    if form == "gate":
        return GatedMaxPool(pool)
    return pool


def check_max_pool(form: Any) -> str:
    """`form` if it is one; `ValueError` that lists them otherwise."""
    if form not in MAX_POOL_FORMS:
        raise ValueError(
            f"`max_pool` (={form!r}) must be 'running' (exact), 'gate' (for hardware) or 'spikes' "
            "(every step on its own)."
        )
    return str(form)

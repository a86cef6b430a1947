"""Choice of the gate arithmetic: the fused kernels of sj-kernels where they serve, else torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor

from sj_rnn.native import NativeSteps, kernel_of
from sj_rnn.torch_steps import GRUSteps, LSTMSteps, VanillaSteps

if TYPE_CHECKING:
    from sj_rnn.recurrence import Plan

_TORCH = {"lstm": LSTMSteps, "gru": GRUSteps, "vanilla": VanillaSteps}


def steps_of(plan: Plan, x: Tensor) -> Any:
    """The gate arithmetic for ``plan`` on tensors like ``x``."""
    cell = kernel_of(plan, x)
    if cell is not None:
        return NativeSteps(cell, plan)
    return _TORCH[plan.kind](plan.s1, plan.s2, plan.clamp_cell)

"""Backward for a batch of incoming gradients: `torch.autograd.grad(..., is_grads_batched=True)`.

It is how `torch.autograd.functional.jacobian(vectorize=True)` works, and `torch.vmap` over
`torch.autograd.grad`. Their tensors have no memory of their own, which the kernels notice as they
ask for it; torch then calls the registered op for each gradient.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from sj_kernels._plan import Plan

Tensors = tuple[Tensor | None, ...]


def is_batched(gradients: Tensors) -> bool:
    """Tell whether one of the gradients stands for a batch of them."""
    of = torch._C._functorch
    return any(
        g is not None and (of.is_legacy_batchedtensor(g) or of.is_batchedtensor(g))
        for g in gradients
    )


def batched_backward(
    plan: Plan,
    incoming: Tensors,
    x: Tensor,
    v: Tensor | None,
    w: Tensor | None,
    decay: Tensor | None,
    fills: tuple[float, float],
    need_decay: bool,
) -> Tensors:
    """Return the gradients of x, v, w and decay; None for what is absent or not needed."""
    g_x, g_v, g_w, g_decay = torch.ops.sj.neuron_backward(
        *incoming, x, v, fills[0], w, fills[1], decay, plan.threshold, plan.scale,
        *plan.settings, need_decay,
    )  # fmt: skip
    return (
        g_x,
        None if v is None else g_v,
        None if w is None else g_w,
        g_decay if need_decay else None,
    )

"""The eager path: a thin `torch.autograd.Function` around the extension."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from sj_kernels import launch
from sj_kernels.batched import batched_backward, is_batched
from sj_kernels.once import once

if TYPE_CHECKING:
    from sj_kernels._plan import Plan

Outputs = tuple[Tensor, Tensor, Tensor | None, Tensor | None]


def _split(value: float | Tensor | None) -> tuple[float, Tensor | None]:
    if isinstance(value, Tensor):
        return 0.0, value
    return (0.0 if value is None else value), None


def _requires_grad(value: object) -> bool:
    return isinstance(value, Tensor) and value.requires_grad


def fused(
    plan: Plan,
    x: Tensor,
    v: float | Tensor | None,
    w: float | Tensor | None,
    decay: Tensor | None,
) -> Outputs:
    """Run a plan with everything that it may hold."""
    if torch.is_grad_enabled() and any(map(_requires_grad, (x, v, w, decay))):
        return _apply_fused(plan, x, v, w, decay)
    v_fill, v = _split(v)
    w_fill, w = _split(w)
    return launch.forward(plan.settings, x, v, v_fill, w, w_fill, decay, plan.threshold, plan.scale)


class _Fused(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, plan: Plan, x: Tensor, v: Any, w: Any, decay: Tensor | None) -> Outputs:
        ctx.set_materialize_grads(False)
        ctx.plan = plan
        v_fill, v = _split(v)
        w_fill, w = _split(w)
        ctx.fills = (v_fill, w_fill)
        # Threshold and scale too: torch then sees a change in place before backward.
        ctx.save_for_backward(x, v, w, decay, plan.threshold, plan.scale)
        return launch.forward(
            plan.settings, x, v, v_fill, w, w_fill, decay, plan.threshold, plan.scale
        )

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> Any:
        if torch.compiler.is_dynamo_compiling():  # compiled autograd, which has no pointers
            return _registered_backward(ctx, ctx.saved_tensors, *gradients)
        if torch.is_grad_enabled():
            return once(_fused_backward, ctx, *gradients)
        saved = ctx.saved_tensors
        try:
            return _fused_backward(ctx, saved, *gradients)
        except RuntimeError:
            if not is_batched(gradients):
                raise
            return _registered_backward(ctx, saved, *gradients)


def _fused_backward(
    ctx: Any,
    saved: Any,
    g_s: Tensor | None,
    g_v_next: Tensor | None,
    g_w_next: Tensor | None,
    g_v_seq: Tensor | None,
) -> Any:
    x, v, w, decay, threshold, scale = saved
    g_x, g_v, g_w, g_decay = launch.backward(
        ctx.plan.settings,
        g_s, g_v_next, g_w_next, g_v_seq,
        x, v, ctx.fills[0], w, ctx.fills[1], decay, threshold, scale,
        ctx.needs_input_grad[4],
    )  # fmt: skip
    return None, g_x, g_v, g_w, g_decay


def _registered_backward(ctx: Any, saved: Any, *gradients: Tensor | None) -> Any:
    x, v, w, decay, *_ = saved
    needed = ctx.needs_input_grad[4]
    return None, *batched_backward(ctx.plan, gradients, x, v, w, decay, ctx.fills, needed)


# Without Function.apply around it, which looks for transforms of torch.func: ruled out here.
_apply_fused = super(torch.autograd.Function, _Fused).apply

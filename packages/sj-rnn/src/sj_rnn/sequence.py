"""A whole sequence of one layer as one autograd function."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from sj_rnn.recurrence import Plan, by_direction, run_backward, run_forward, stacked
from sj_rnn.step import gru_step, lstm_step, vanilla_step


class SequenceFunction(torch.autograd.Function):
    """``apply(plan, mask, x, h, c, *weights) -> (h_seq, h, c)`` of ``recurrence.run_forward``."""

    @staticmethod
    def forward(
        ctx: Any, plan: Plan, mask: Any, x: Tensor, h: Tensor, c: Any, *weights: Tensor
    ) -> Any:
        kept = run_forward(plan, mask, x, h, c, weights)
        ctx.set_materialize_grads(False)
        ctx.plan = plan
        ctx.save_for_backward(mask, x, h, c, kept.h_seq, kept.pre, kept.aux, *weights)
        return kept.h_seq, kept.h, kept.c

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        mask, x, h, c, h_seq, pre, aux, *weights = ctx.saved_tensors
        needs = ctx.needs_input_grad
        if torch.is_grad_enabled():
            # Asked for a graph of the gradients themselves: once more, differentiably.
            inputs = (x, h, c, *weights)
            return None, None, *differentiable_backward(ctx.plan, mask, inputs, grads, needs[2:])
        kept = (h_seq, pre, aux)
        gx, gh, gc, gw = run_backward(
            ctx.plan, mask, x, h, c, weights, kept, grads, needs[2], any(needs[5:])
        )
        return None, None, gx, gh, gc, *(gw or (None for _ in weights))


def replay(
    plan: Plan,
    mask: Tensor | None,
    x: Tensor,
    h: Tensor,
    c: Any,
    weights: Sequence[Tensor],
) -> tuple[Tensor, Tensor, Any]:
    """The outputs of ``run_forward``, step by step in differentiable torch operations."""
    directions = len(plan.reverse)
    time = directions - 1
    w_ih, w_hh, b_ih, b_hh = stacked(weights, directions)
    s1, s2 = plan.s1.function, plan.s2.function
    s2 = s1 if plan.s1.same(plan.s2) else s2

    def affine(a: Tensor, w: Tensor, b: Tensor | None) -> Tensor:
        y = a @ w.mT
        return y if b is None else y + b.unsqueeze(-2)

    xs = by_direction(x, plan.reverse)
    pre_x = affine(xs.flatten(-3, -2), w_ih, b_ih).unflatten(-2, xs.shape[-3:-1])
    masks = [None] * x.shape[0] if mask is None else mask.unbind(time)
    out = []
    for p, m in zip(pre_x.unbind(time), masks, strict=True):
        pre_h = affine(h, w_hh, b_hh)
        h_next, c_next = h, c
        if plan.kind == "lstm":
            h_next, c_next = lstm_step(p + pre_h, c, s1, s2, plan.clamp_cell)
        elif plan.kind == "gru":
            h_next = gru_step(p, pre_h, h, s1, s2)
        else:
            h_next = vanilla_step(p + pre_h, s1)
        h = h_next if m is None else torch.where(m, h_next, h)
        c = c_next if m is None or c is None else torch.where(m, c_next, c)
        out.append(h)
    return torch.stack(out, time), h, c


def differentiable_backward(
    plan: Plan,
    mask: Tensor | None,
    inputs: Sequence[Any],
    grads: Sequence[Any],
    needs: Sequence[bool],
) -> list[Tensor | None]:
    """Gradients of ``inputs`` (x, h, c, weights) that can be differentiated again."""
    x, h, c, *weights = inputs
    outputs = replay(plan, mask, x, h, c, weights)
    pairs = [(o, g) for o, g in zip(outputs, grads, strict=True) if g is not None]
    wanted = [t for t, need in zip(inputs, needs, strict=True) if need]
    found = iter(
        torch.autograd.grad(
            [o for o, _ in pairs],
            wanted,
            [g for _, g in pairs],
            create_graph=True,
            allow_unused=True,
        )
    )
    return [next(found) if need else None for need in needs]

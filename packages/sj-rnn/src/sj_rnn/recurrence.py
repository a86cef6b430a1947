"""The loops over a whole sequence of one layer, forward and backward, without autograd.

Forward: one product over T*N for the input, then a loop over ``h W_hh^T`` and the gates; only the
pre-activations and the states are kept. Backward: a loop with one product per step for dh, then
three products over T*N for the weights and the input. Both directions may run at once, as a
leading dimension of 2 in every tensor, each in the order of its own steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from sj_rnn.check import HALF
from sj_rnn.gate import Gate
from sj_rnn.matmul import gram, product, product_plus
from sj_rnn.native import sequence_kernel_of
from sj_rnn.steps import steps_of


class Plan(NamedTuple):
    """What runs: the kind of cell, its spike functions, and which directions are reversed."""

    kind: str
    s1: Gate
    s2: Gate
    clamp_cell: float | None
    reverse: tuple[bool, ...]


class Kept(NamedTuple):
    """Outputs of a forward: states of all steps, the last ones, and what backward needs."""

    h_seq: Tensor
    h: Tensor
    c: Tensor | None
    pre: Tensor
    aux: Tensor | None


def by_direction(x: Tensor, reverse: Sequence[bool]) -> Tensor:
    """``x`` ``[T, ...]`` in the order of the steps; ``[2, T, ...]`` for two directions."""
    if len(reverse) == 1:
        return x.flip(0) if reverse[0] else x
    return torch.stack([x.flip(0) if flipped else x for flipped in reverse])


def sum_directions(x: Tensor, reverse: Sequence[bool]) -> Tensor:
    """The transpose of ``by_direction``."""
    parts = (x,) if len(reverse) == 1 else x.unbind(0)
    flipped = [p.flip(0) if r else p for p, r in zip(parts, reverse, strict=True)]
    return flipped[0] if len(flipped) == 1 else flipped[0] + flipped[1]


def stacked(weights: Sequence[Tensor], directions: int) -> list[Any]:
    """w_ih, w_hh, b_ih, b_hh of one direction, or of two stacked; None for absent biases."""
    each = len(weights) // directions
    found: list[Any] = [
        weights[k] if directions == 1 else torch.stack(list(weights[k::each])) for k in range(each)
    ]
    return found + [None] * (4 - each)


def _rows(x: Tensor) -> Tensor:
    return x.flatten(-3, -2)


def run_forward(
    plan: Plan,
    mask: Tensor | None,
    x: Tensor,
    h: Tensor,
    c: Any,
    weights: Sequence[Tensor],
) -> Kept:
    """Run all steps; ``mask`` is in the order of the steps, with the directions' dimension."""
    directions = len(plan.reverse)
    w_ih, w_hh, b_ih, b_hh = stacked(weights, directions)
    cell = sequence_kernel_of(plan, x, h)
    b_step = None
    if b_hh is not None and plan.kind == "gru":
        # The candidate's own bias stands inside r * (...); those of r and z join the input's.
        edge = 2 * h.shape[-1]
        b_step = b_hh.clone()
        b_step[..., :edge] = 0
        b_hh = b_hh - b_step
    b_all = None if b_hh is None else b_ih + b_hh
    xs = by_direction(x, plan.reverse)
    pre = product_plus(b_all, _rows(xs), w_ih.mT).unflatten(-2, xs.shape[-3:-1])
    h_seq = x.new_empty(xs.shape[:-1] + h.shape[-1:])
    aux: Any = None if plan.kind == "vanilla" else torch.empty_like(h_seq)
    h = h.contiguous()
    c = None if c is None else c.contiguous()
    if cell is None:
        h, c = _loop_forward(plan, mask, h, c, w_hh.mT, b_step, pre, h_seq, aux)
    else:
        bias = None if b_step is None else b_step[2 * h.shape[-1] :].contiguous()
        cell.sequence_forward(pre, w_hh.contiguous(), bias, h, c, _flat(mask), h_seq, aux)
        h, c = h_seq[-1], None if c is None else aux[-1]
    return Kept(h_seq, h.clone(), None if c is None else c.clone(), pre, aux)


def _flat(mask: Tensor | None) -> Tensor | None:
    return None if mask is None else mask.squeeze(-1).contiguous()


def _loop_forward(
    plan: Plan,
    mask: Tensor | None,
    h: Tensor,
    c: Any,
    w: Tensor,
    bias: Tensor | None,
    pre: Tensor,
    h_seq: Tensor,
    aux: Any,
) -> tuple[Tensor, Any]:
    time, count = pre.dim() - 3, pre.shape[-3]
    steps = steps_of(plan, pre)
    auxes = [None] * count if aux is None else aux.unbind(time)
    masks = [None] * count if mask is None else mask.unbind(time)
    for p, h_out, aux_out, m in zip(
        pre.unbind(time), h_seq.unbind(time), auxes, masks, strict=True
    ):
        steps.forward(p, product_plus(bias, h, w), h, c, h_out, aux_out)
        if m is not None:
            h_out.copy_(torch.where(m, h_out, h))
            if c is not None:
                aux_out.copy_(torch.where(m, aux_out, c))
        h = h_out
        c = None if c is None else aux_out
    return h, c


def run_backward(
    plan: Plan,
    mask: Tensor | None,
    x: Tensor,
    h: Tensor,
    c: Tensor | None,
    weights: Sequence[Tensor],
    kept: Sequence[Any],
    grads: Sequence[Tensor | None],
    need_x: bool = True,
    need_w: bool = True,
) -> tuple[Tensor | None, Tensor, Tensor | None, list[Tensor]]:
    """Gradients of x (or None), h, c and the weights; ``kept`` = h_seq, pre, aux."""
    directions = len(plan.reverse)
    w_ih, w_hh, _, b_hh = stacked(weights, directions)
    h_seq, pre, aux = kept
    gp = torch.empty_like(pre)
    gn = torch.empty_like(aux) if plan.kind == "gru" else None
    g_seq, g_h, g_c = (None if g is None else g.contiguous() for g in grads)
    h = h.contiguous()
    c = None if c is None else c.contiguous()
    cell = sequence_kernel_of(plan, x, h)
    gc: Any = None
    if cell is None:
        states = (h, c, h_seq, pre, aux)
        gh, gc = _loop_backward(plan, mask, w_hh, states, (g_seq, g_h, g_c), gp, gn)
    else:
        gh, gc = torch.empty_like(h), None if c is None else torch.empty_like(c)
        own = (pre, w_hh.contiguous(), h, c, _flat(mask), h_seq, aux)
        cell.sequence_backward(*own, g_seq, g_h, g_c, gp, gn, gh, gc)
    of_hh = _hidden_gradients(h, h_seq, gp, b_hh is not None) if need_w else []
    if gn is not None:
        # From the gradient of the state's product to that of the input's.
        gp[..., 2 * h.shape[-1] :] = gn
    gx = None
    if need_x:
        gx = product(_rows(gp), w_ih).unflatten(-2, gp.shape[-3:-1])
        gx = sum_directions(gx, plan.reverse)
    gw: list[Tensor] = []
    if need_w:
        gw_ih = gram(_rows(gp), _rows(by_direction(x, plan.reverse)))
        gw = [gw_ih, of_hh[0]]
        if b_hh is not None:
            # A tensor of its own even where it equals the other: the two end in two `.grad`.
            gb_ih = of_hh[1].clone() if gn is None else _rows(gp).sum(-2)
            gw += [gb_ih, of_hh[1]]
        if directions == 2:
            gw = [g[d] for d in range(2) for g in gw]
    return gx, gh.to(h.dtype), None if gc is None else gc.to(x.dtype), gw


def _loop_backward(
    plan: Plan,
    mask: Tensor | None,
    w: Tensor,
    states: Sequence[Any],
    grads: Sequence[Any],
    gp: Tensor,
    gn: Tensor | None,
) -> tuple[Tensor, Any]:
    """Fill gp and gn of all steps; returns the gradients of the first states."""
    h, c, h_seq, pre, aux = states
    g_seq, g_h, g_c = grads
    time, count = pre.dim() - 3, pre.shape[-3]
    dtype = torch.float32 if h.dtype in HALF else h.dtype
    gh = torch.zeros_like(h) if g_h is None else g_h
    gc = None
    if c is not None:
        gc = torch.zeros_like(c, dtype=dtype) if g_c is None else g_c.to(dtype)
    h_all = [h, *h_seq.unbind(time)]
    aux_all = [None] * count if aux is None else list(aux.unbind(time))
    c_all = [None] * count if c is None else [c, *aux_all]
    g_all = [None] * count if g_seq is None else list(g_seq.unbind(time))
    p_all, gp_all = pre.unbind(time), gp.unbind(time)
    gn_all = [None] * count if gn is None else gn.unbind(time)
    m_all = [None] * count if mask is None else mask.unbind(time)
    steps = steps_of(plan, pre)
    for t in reversed(range(count)):
        gy, m = g_all[t], m_all[t]
        gh_past = gc_past = None
        if m is not None:
            # A frozen row hands its gradients on to the step before, past the gates.
            gh = gh if gy is None else gh + gy
            gy = None
            gh_past, gh = gh.masked_fill(m, 0), gh.masked_fill(~m, 0)
            if gc is not None:
                gc_past, gc = gc.masked_fill(m, 0), gc.masked_fill(~m, 0)
        direct, gc = steps.backward(
            p_all[t], h_all[t], c_all[t], aux_all[t], gy, gh, gc, gp_all[t], gn_all[t]
        )
        gh = product(gp_all[t], w)
        for more in (direct, gh_past):
            gh = gh if more is None else gh + more
        if gc_past is not None:
            gc = gc + gc_past
    return gh, gc


def _hidden_gradients(h: Tensor, h_seq: Tensor, gp: Tensor, bias: bool) -> list[Tensor]:
    """Gradients of w_hh and of b_hh from those of the state's products of all steps."""
    time, count = gp.dim() - 3, gp.shape[-3]
    weight = gram(gp.select(time, 0), h)
    if count > 1:
        later, before = gp.narrow(time, 1, count - 1), h_seq.narrow(time, 0, count - 1)
        weight += gram(_rows(later), _rows(before))
    return [weight, _rows(gp).sum(-2)] if bias else [weight]

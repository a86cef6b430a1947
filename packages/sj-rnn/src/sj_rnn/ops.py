"""The sequence as operators of torch's library, which is what torch.compile sees."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from sj_rnn.gate import Gate
from sj_rnn.recurrence import Plan, run_backward, run_forward
from sj_rnn.sequence import SequenceFunction

_LIBRARY = torch.library.Library("sj_rnn", "DEF")
_PLAN = (
    "str kind, str s1, float[] p1, bool spiking1, str s2, float[] p2, bool spiking2, "
    "float? clamp_cell, bool[] reverse"
)
_TENSORS = "Tensor? mask, Tensor x, Tensor h, Tensor? c, Tensor[] weights"
_LIBRARY.define(f"sequence({_PLAN}, {_TENSORS}) -> (Tensor, Tensor, Tensor, Tensor, Tensor)")
_LIBRARY.define(
    f"sequence_backward({_PLAN}, {_TENSORS}, Tensor h_seq, Tensor pre, Tensor aux, "
    "Tensor? g_seq, Tensor? g_h, Tensor? g_c, bool need_x) -> Tensor[]"
)
_SETTINGS = 9
_ROWS = {"lstm": 4, "gru": 3, "vanilla": 1}


def run_sequence(
    plan: Plan, mask: Tensor | None, x: Tensor, h: Tensor, c: Tensor | None, weights: list[Tensor]
) -> tuple[Tensor, Tensor, Tensor | None]:
    """(h_seq, h, c) of a sequence: the autograd function, or the operator under a compiler."""
    if not torch.compiler.is_compiling():
        outputs: tuple[Tensor, Tensor, Tensor | None]
        outputs = SequenceFunction.apply(plan, mask, x, h, c, *weights)
        return outputs
    names = (plan.s1.name, list(map(float, plan.s1.params)), plan.s1.spiking)
    more = (plan.s2.name, list(map(float, plan.s2.params)), plan.s2.spiking)
    settings = (plan.kind, *names, *more, plan.clamp_cell, list(plan.reverse))
    h_seq, h, c_last, _, _ = torch.ops.sj_rnn.sequence(*settings, mask, x, h, c, weights)
    return h_seq, h, None if c is None else c_last


def _plan(values: Sequence[Any]) -> Plan:
    kind, s1, p1, spiking1, s2, p2, spiking2, clamp_cell, reverse = values
    first, second = Gate.named(s1, p1, spiking1), Gate.named(s2, p2, spiking2)
    return Plan(kind, first, second, clamp_cell, tuple(reverse))


def _present(tensor: Tensor | None, like: Tensor) -> Tensor:
    # An operator cannot return None: what is absent has no elements.
    return like.new_empty(0) if tensor is None else tensor


def _sequence(*args: Any) -> tuple[Tensor, ...]:
    mask, x, h, c, weights = args[_SETTINGS:]
    kept = run_forward(_plan(args[:_SETTINGS]), mask, x, h, c, weights)
    return tuple(_present(t, x) for t in kept)


def _sequence_fake(*args: Any) -> tuple[Tensor, ...]:
    kind, reverse = args[0], args[_SETTINGS - 1]
    _, x, h, c, _ = args[_SETTINGS:]
    lead = (2,) if len(reverse) == 2 else ()
    states = (*lead, *x.shape[:2], h.shape[-1])
    h_seq = x.new_empty(states)
    aux = None if kind == "vanilla" else torch.empty_like(h_seq)
    pre = x.new_empty((*states[:-1], _ROWS[kind] * h.shape[-1]))
    last = None if c is None else torch.empty_like(c)
    return tuple(_present(t, x) for t in (h_seq, torch.empty_like(h), last, pre, aux))


def _backward_op(*args: Any) -> list[Tensor]:
    mask, x, h, c, weights, h_seq, pre, aux, *grads, need_x = args[_SETTINGS:]
    kept = (h_seq, pre, aux if aux.numel() else None)
    plan = _plan(args[:_SETTINGS])
    gx, gh, gc, gw = run_backward(plan, mask, x, h, c, weights, kept, grads, need_x)
    # The operator's outputs are no views of each other.
    own = [g.contiguous() if len(plan.reverse) == 1 else g.clone() for g in gw]
    return [_present(gx, x), gh, _present(gc, x), *own]


def _backward_fake(*args: Any) -> list[Tensor]:
    _, x, h, c, weights, _, _, _, _, _, _, need_x = args[_SETTINGS:]
    return [
        torch.empty_like(x) if need_x else x.new_empty(0),
        torch.empty_like(h),
        x.new_empty(0) if c is None else torch.empty_like(c),
        *(torch.empty_like(w) for w in weights),
    ]


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    mask, x, h, c, weights = inputs[_SETTINGS:]
    h_seq, _, _, pre, aux = output
    ctx.set_materialize_grads(False)
    ctx.settings = inputs[:_SETTINGS]
    ctx.save_for_backward(mask, x, h, c, h_seq, pre, aux, *weights)


def _backward(ctx: Any, g_seq: Any, g_h: Any, g_c: Any, *unused: Any) -> tuple[Any, ...]:
    mask, x, h, c, h_seq, pre, aux, *weights = ctx.saved_tensors
    need_x = ctx.needs_input_grad[_SETTINGS + 1]
    kept = (h_seq, pre, aux)
    g_c = None if c is None else g_c
    gx, gh, gc, *gw = torch.ops.sj_rnn.sequence_backward(
        *ctx.settings, mask, x, h, c, weights, *kept, g_seq, g_h, g_c, need_x
    )
    gradients = (gx if need_x else None, gh, None if c is None else gc, gw)
    return (*(None for _ in range(_SETTINGS + 1)), *gradients)


for _name, _kernel, _fake in (
    ("sequence", _sequence, _sequence_fake),
    ("sequence_backward", _backward_op, _backward_fake),
):
    for _key in ("CPU", "CUDA"):
        _LIBRARY.impl(_name, _kernel, _key)
    torch.library.register_fake(f"sj_rnn::{_name}", _fake, lib=_LIBRARY)
torch.library.register_autograd(
    "sj_rnn::sequence", _backward, setup_context=_setup_context, lib=_LIBRARY
)

"""Whether a cell's sequence can run as one function, and with what."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses import FakeTensor
from torch.overrides import has_torch_function

from sj_rnn.check import cast
from sj_rnn.gate import Gate, globally_hooked, hooked
from sj_rnn.recurrence import Plan

_PLAIN = (Tensor, nn.Parameter, FakeTensor)


def plan_of(cell: Any, x: Tensor, reverse: bool) -> Plan | None:
    """The plan of ``cell`` over ``x``, or None where only its own ``forward`` will do.

    That is so for a cell with a ``forward`` of its own, with hooks that want to see each step,
    with linear maps or spike functions of another kind, and inside ``torch.func`` transforms.
    """
    kind = _kind(cell)
    if kind is None or _watched(cell) or _overridden((x, *cell.parameters())):
        return None
    if not torch.compiler.is_compiling() and (
        torch._C._are_functorch_transforms_active() or torch.autograd.forward_ad._current_level >= 0
    ):
        return None
    s1, s2 = (Gate.of(s) for s in cell.spike_functions())
    if s1 is None or s2 is None:
        return None
    if torch.compiler.is_compiling() and (s1.name is None or s2.name is None):
        return None
    return Plan(kind, s1, s2, getattr(cell, "clamp_cell", None), (reverse,))


def weights_of(cell: Any, dtype: torch.dtype | None) -> list[Tensor]:
    """w_ih, w_hh and, where they are, b_ih, b_hh; in autocast's dtype if one is given."""
    ih, hh = cell.linear_ih, cell.linear_hh
    found = [cast(w, dtype) for w in (ih.weight, hh.weight, ih.bias, hh.bias)]
    return [w for w in found if w is not None]


def _overridden(tensors: Iterable[Tensor]) -> bool:
    """Whether a tensor is of a class with a ``__torch_function__`` of its own.

    torch's own question also says so of plain tensors while a mode is active, which a default
    device is, and the tracing of ``torch.export``.
    """
    others = [x for x in tensors if type(x) not in _PLAIN]
    return bool(others) and has_torch_function(others)


def _kind(cell: Any) -> str | None:
    if "forward" in cell.__dict__:
        return None
    for base in type(cell).__mro__:
        if "forward" in base.__dict__:
            kind: str | None = base.__dict__.get("sequence_kind")
            return kind
    return None


def _watched(cell: Any) -> bool:
    for linear in (cell.linear_ih, cell.linear_hh):
        if not isinstance(linear, nn.Linear) or type(linear).forward is not nn.Linear.forward:
            return True
        if hooked(linear) or "forward" in linear.__dict__:
            return True
    # One bias without the other is no form that the products know.
    if (cell.linear_ih.bias is None) != (cell.linear_hh.bias is None):
        return True
    return hooked(cell) or globally_hooked()

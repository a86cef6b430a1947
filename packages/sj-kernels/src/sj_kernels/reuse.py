"""Whether a gradient is in nobody else's hands, so that its memory may become the result's.

Backward that writes over the gradient it was given moves a third less memory. torch's engine adds
to a gradient in place where it holds the last reference to the tensor and to its storage; the same
rule here, seen from Python. How many references the engine itself holds, and the way from it to
here, depends on the versions of torch and of Python: it is counted once, on fresh gradients.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from threading import get_ident
from typing import Any

import torch
from torch import Tensor
from torch._C import _len_torch_dispatch_stack, _len_torch_function_stack

#: Bytes below which a fresh tensor costs no more than the question.
LEAST_BYTES = 1 << 19

_getrefcount = sys.getrefcount
_running_node: Any = getattr(torch._C, "_current_autograd_node", None)
_uses_of_storage: Any = getattr(torch._C, "_storage_Use_Count", None)

# References to a fresh gradient: that is a view, that is none. None: not counted yet.
_fresh: tuple[tuple[int, ...], tuple[int, ...]] | None = None
_NEVER = ((), ())
# What a thread that counts has found so far.
_counting: dict[int, list[tuple[int, ...]]] = {}

#: A call of the thin path on a sequence, from whose backward `is_last` is asked; set by `_plan`.
example: Callable[[Tensor], Tensor] | None = None


def is_last(ctx: Any, gradient: Tensor) -> bool:
    """Tell whether `gradient`, just come to the backward of `ctx`, is of use to nobody else."""
    global _fresh
    if type(gradient) is not Tensor or _running_node is None or _running_node() is not ctx:
        return False  # called by hand, or by what compiles the graph
    if _counting and get_ident() in _counting:
        _counting[get_ident()].append(_references(gradient))
        return False
    if _fresh is None:
        if _len_torch_dispatch_stack() or _len_torch_function_stack() or sys.gettrace():
            return False  # modes and debuggers may hold what they see: not now
        _fresh = _count()
    return _references(gradient) == _fresh[gradient._base is None]


def _references(gradient: Any) -> tuple[int, ...]:
    own = (
        _getrefcount(gradient),
        gradient._use_count(),
        _uses_of_storage(gradient.untyped_storage()._cdata),
    )
    base = gradient._base
    return own if base is None else (*own, _getrefcount(base), base._use_count())


def _count() -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Count on gradients that are fresh, by the very way of all others, and see that kept ones
    count otherwise."""
    if example is None or not getattr(sys, "_is_gil_enabled", lambda: True)():
        return _NEVER
    found = _counting[get_ident()] = []
    try:
        with torch.enable_grad():
            for as_view in (True, False):
                for holder in (None, "a hook", "a hook, the memory", "the engine"):
                    _backward_of(example, as_view, holder)
    except (AttributeError, RuntimeError):
        return _NEVER
    finally:
        del _counting[get_ident()]
    views, others = found[:4], found[4:]
    told = len(found) == 8 and all(fresh not in kept for fresh, *kept in (views, others))
    return (views[0], others[0]) if told else _NEVER


def _backward_of(call: Callable[[Tensor], Tensor], as_view: bool, holder: str | None) -> None:
    x = torch.zeros(1, LEAST_BYTES // 4, dtype=torch.float32, device="cpu", requires_grad=True)
    s = call(x)
    kept: list[Tensor] = []
    if holder == "a hook":
        s.register_hook(kept.append)
    elif holder == "a hook, the memory":
        s.register_hook(lambda gradient: kept.append(gradient.detach()))
    y = (s.view(-1) if as_view else s) * 2
    torch.autograd.grad(y.sum(), (x, s) if holder == "the engine" else x)

"""Whether a gradient is in nobody else's hands, so that its memory may become the result's.

Backward that writes over the gradient it was given moves a third less memory. torch's engine adds
to a gradient in place where it holds the last reference to the tensor and to its storage; the same
rule here, seen from Python. How many references the engine itself holds, and the way from it to
here, depends on the versions of torch and of Python: it is counted once, on fresh gradients.

What holds memory without a reference to its storage is outside of the count: arrays of numpy,
files, other processes. Storage that is not resizable, or shared, is never written to.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from threading import get_ident
from types import CodeType
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch._C import _len_torch_dispatch_stack, _len_torch_function_stack

#: Bytes below which a fresh tensor costs no more than the question.
LEAST_BYTES = 1 << 19

_getrefcount, _getframe = sys.getrefcount, sys._getframe
_running_node: Any = getattr(torch._C, "_current_autograd_node", None)
_uses_of_storage: Any = getattr(torch._C, "_storage_Use_Count", None)


class _Fresh(NamedTuple):
    """References to a fresh gradient, as a view and as none, and what calls backward."""

    counts: tuple[tuple[int, ...], ...]
    caller: CodeType | None


_fresh: _Fresh | None = None  # not counted yet
_NEVER = _Fresh((), None)
# What a thread that counts has found so far.
counting: dict[int, list[tuple[tuple[int, ...], CodeType | None]]] = {}

#: A call of the thin path on a sequence, from whose backward `is_last` is asked; set by `_plan`.
example: Callable[[Tensor], Tensor] | None = None


def is_last(ctx: Any, gradient: Tensor) -> bool:
    """Tell whether `gradient`, just come to the backward of `ctx`, is of use to nobody else.

    To be called by a function that backward calls with what it was given.
    """
    global _fresh
    if type(gradient) is not Tensor or _running_node is None or _running_node() is not ctx:
        return False  # called by hand, or by what compiles the graph
    # A hook of the very node may call backward by hand, with one reference where the engine has
    # one. On the stack: this function, the one that asks, backward, what called it.
    caller = _getframe(2).f_back
    code = None if caller is None else caller.f_code
    if counting and get_ident() in counting:
        counting[get_ident()].append((_references(gradient), code))
        return False
    if gradient.requires_grad:
        return False  # a result would pass for the end of its history
    if _fresh is None:
        if _len_torch_dispatch_stack() or _len_torch_function_stack():
            return False  # a mode may hold what it sees: not now
        if sys.gettrace() is not None or sys.getprofile() is not None:
            return False  # they may hold what a frame holds
        _fresh = _count()
    return code is _fresh.caller and _references(gradient) in _fresh.counts


def _references(gradient: Any) -> tuple[int, ...]:
    storage = gradient.untyped_storage()
    own = (
        _getrefcount(gradient),
        gradient._use_count(),
        _getrefcount(storage),  # one object for all who ask for it
        _uses_of_storage(storage._cdata),
        storage.resizable(),
        storage.is_shared(),
        storage.nbytes() - gradient.nbytes,  # a result keeps no more alive than it has
    )
    base = gradient._base
    return own if base is None else (*own, _getrefcount(base), base._use_count())


def _count() -> _Fresh:
    """Count on fresh gradients, on the very way of all others, and see that kept ones differ."""
    if example is None or not getattr(sys, "_is_gil_enabled", lambda: True)():
        return _NEVER
    found = counting[get_ident()] = []
    try:
        with torch.inference_mode(False), torch.enable_grad():
            for as_view in (True, False):
                for holder in (None, "a hook", "a hook, the memory", "the engine"):
                    _backward_of(example, as_view, holder)
    except (AttributeError, RuntimeError):
        return _NEVER
    finally:
        del counting[get_ident()]
    if len(found) != 8:
        return _NEVER
    counts = [references for references, _ in found]
    told = counts[0] not in counts[1:4] and counts[4] not in counts[5:]
    return _Fresh((counts[0], counts[4]), found[0][1]) if told else _NEVER


def _backward_of(call: Callable[[Tensor], Tensor], as_view: bool, holder: str | None) -> None:
    x = torch.zeros(1, 2, dtype=torch.float32, device="cpu", requires_grad=True)
    s = call(x)
    kept: list[Tensor] = []
    if holder == "a hook":
        s.register_hook(kept.append)
    elif holder == "a hook, the memory":
        s.register_hook(lambda gradient: kept.append(gradient.detach()))
    y = (s.view(-1) if as_view else s) * 2
    torch.autograd.grad(y.sum(), (x, s) if holder == "the engine" else x)

"""Whether a gradient is in nobody else's hands, so that its memory may become the result's.

Backward that writes over the gradient it was given moves a third less memory. torch's engine adds
to a gradient in place where it holds the last reference to the tensor and to its storage; the same
rule here, seen from Python. How many references the engine itself holds, and the way from it to
here, depends on the versions of torch and of Python: it is counted once, on fresh gradients.
"""

from __future__ import annotations

import sys
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


def is_last(ctx: Any, gradient: Tensor) -> bool:
    """Tell whether `gradient`, just come to the backward of `ctx`, is of use to nobody else.

    It must be called by a function that the backward of a `torch.autograd.Function` calls with
    `(ctx, *gradients)`, and that function's `_backward_cls.apply` must be its backward.
    """
    global _fresh
    if type(gradient) is not Tensor or _running_node is None or _running_node() is not ctx:
        return False  # called by hand, or by what compiles the graph
    if _fresh is None:
        if _len_torch_dispatch_stack() or _len_torch_function_stack():
            return False
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


class _Counting(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, found: list[tuple[int, ...]], x: Tensor) -> tuple[Tensor, Tensor]:
        ctx.found = found
        return x.clone(), x.clone()

    @staticmethod
    def backward(ctx: Any, g_s: Tensor, g_v_next: Tensor | None) -> Any:
        return _counting_backward(ctx, g_s, g_v_next)


_Counting._backward_cls.apply = _Counting.backward  # type: ignore[attr-defined]


def _counting_backward(ctx: Any, g_s: Tensor, g_v_next: Tensor | None) -> Any:
    _count_one(ctx, g_s)
    return None, g_s


def _count_one(ctx: Any, gradient: Tensor) -> None:
    ctx.found.append(_references(gradient))


def _count() -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Count on gradients that are fresh, and see that others count otherwise."""
    if not getattr(sys, "_is_gil_enabled", lambda: True)():
        return _NEVER
    found: list[tuple[int, ...]] = []
    kept: list[Tensor] = []
    try:
        with torch.enable_grad():
            for shape in ((2, 1), (2,)):
                for held in (None, "by a hook", "by its memory", "by the engine"):
                    x = torch.ones(2, device="cpu", requires_grad=True)
                    h, _ = _Counting.apply(found, x)
                    if held == "by a hook":
                        h.register_hook(kept.append)
                    elif held == "by its memory":
                        h.register_hook(lambda g: kept.append(g.detach()))
                    y = (h.view(shape) if len(shape) > 1 else h) * 2
                    torch.autograd.grad(y.sum(), (x, h) if held == "by the engine" else x)
    except (AttributeError, RuntimeError):
        return _NEVER
    views, others = found[:4], found[4:]
    told = all(fresh not in rest for fresh, *rest in (views, others))
    return (views[0], others[0]) if told else _NEVER

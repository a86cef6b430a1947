"""The tensors of a state: their dtype, and where they were made."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

_is_compiling = torch.compiler.is_compiling


def state_dtype(x: Tensor) -> torch.dtype:
    """Dtype in which a state driven by ``x`` is kept: float64 for float64, else float32.

    Half-precision inputs get a float32 state: a membrane potential that decays or integrates over
    many steps loses whole inputs to rounding in float16 and bfloat16.
    """
    if not x.is_floating_point():
        raise TypeError(
            f"`x` has dtype {x.dtype}; a stateful module needs a floating-point input: "
            "convert it, for example with `x.float()`."
        )
    return torch.float64 if x.dtype == torch.float64 else torch.float32


def out_of_inference(value: Tensor) -> Tensor:
    """``value``, or a copy where it was made in ``torch.inference_mode`` and is used outside of it.

    Autograd saves no such tensor: a state that an evaluation has left could not be trained on.

    >>> import torch
    >>> from sj_core.base import out_of_inference
    >>> with torch.inference_mode():
    ...     v = torch.ones(2)
    >>> v.is_inference(), out_of_inference(v).is_inference()
    (True, False)
    """
    if _is_compiling() or not value.is_inference() or torch.is_inference_mode_enabled():
        return value
    return value.clone()


def detached(value: Tensor) -> Tensor:
    """``value`` without its graph, as one that autograd can save.

    >>> import torch
    >>> from sj_core.base.tensor import detached
    >>> detached(torch.ones(1, requires_grad=True) * 2).requires_grad
    False
    """
    return out_of_inference(value).detach()


def copyable(value: Tensor) -> Tensor:
    """``value``, without its graph if it has one: only that can be deep-copied and pickled.

    >>> import torch
    >>> from sj_core.base.tensor import copyable
    >>> copyable(torch.ones(1, requires_grad=True)).requires_grad
    True
    """
    return value if value.is_leaf else value.detach()


def of_any_rank(fn: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """``fn`` of ``module._apply`` for tensors of a state, which may be images of several steps.

    ``module.to(memory_format=torch.channels_last)`` refuses 5 axes, which no parameter of a network
    of images has.

    >>> import torch
    >>> from sj_core.base.tensor import of_any_rank
    >>> def to(x):
    ...     layout = torch.channels_last if x.dim() > 3 else torch.preserve_format
    ...     return x.to(torch.float64, memory_format=layout)
    >>> of_any_rank(to)(torch.zeros(2, 1, 3, 4, 4)).dtype
    torch.float64
    """

    def moved(value: Tensor) -> Tensor:
        try:
            return fn(value)
        except RuntimeError:
            if value.dim() < 5:
                raise
            return fn(value.flatten()).view(value.shape)

    return moved

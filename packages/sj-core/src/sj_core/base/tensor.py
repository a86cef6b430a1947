"""The tensors of a state: their dtype, and where they were made."""

from __future__ import annotations

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


def detach_non_leaf(value: Tensor) -> Tensor:
    """``value``, without its graph if it has one: what can be copied and pickled.

    >>> import torch
    >>> from sj_core.base.tensor import detach_non_leaf
    >>> detach_non_leaf(torch.ones(1, requires_grad=True)).requires_grad
    True
    """
    return value if value.is_leaf else value.detach()

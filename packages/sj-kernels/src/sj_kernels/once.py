"""Gradients that cannot be differentiated again: they say so, where they would be wrong."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

Gradients = tuple[Tensor | None, ...]

#: What is raised where a second derivative is asked for, and one in forward mode.
MESSAGE = "The fused neuron has no second derivative; use the torch backend for it."
FORWARD_MESSAGE = (
    "The fused neuron has no derivative in forward mode; use the torch backend for it."
)


def refuse_tangents(*inputs: object) -> None:
    """Raise NotImplementedError if an input has a tangent: it would be dropped without a word."""
    for value in inputs:
        if isinstance(value, Tensor) and forward_ad.unpack_dual(value).tangent is not None:
            raise NotImplementedError(FORWARD_MESSAGE)


def once(backward: Callable[..., Gradients], ctx: Any, *incoming: Tensor | None) -> Gradients:
    """Run `backward(ctx, saved, *incoming)` of a Function, whose result depends on what it saved.

    torch's `once_differentiable` looks at the incoming gradients alone: those of a sum are
    constants, and the derivative of g'(H) with respect to x would be dropped without a word.
    """
    saved = ctx.saved_tensors  # read once: an activation checkpoint gives them no second time
    if not torch.is_grad_enabled():
        return backward(ctx, saved, *incoming)
    with torch.no_grad():
        gradients = backward(ctx, saved, *incoming)
    return _Last.apply(gradients, *incoming, *saved)  # type: ignore[no-any-return]


class _Last(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gradients: Gradients, *_: Tensor | None) -> Gradients:
        return gradients

    @staticmethod
    def backward(ctx: Any, *_: Any) -> Any:
        raise RuntimeError(MESSAGE)

"""IF and LIF as autograd functions: they keep x and the initial v, and recompute H in backward.

`.apply(x, v, v_threshold, v_reset, alpha, detach_reset, grad_surrogate_function_index)`, for LIF
followed by `reciprocal_tau, detach_input`, returns `(spike, v_next)`. `v_reset=None` means a soft
reset. Both outputs are differentiable with respect to x and v.

>>> import torch
>>> x = torch.tensor([0.5, 1.5], requires_grad=True)
>>> spike, v_next = IFStep.apply(x, torch.zeros(2), 1.0, 0.0, 2.0, False, 0)
>>> spike.sum().backward()
>>> x.grad  # alpha/2 / (1 + (pi/2 alpha (H - v_threshold))^2)
tensor([0.2884, 0.2884])
"""

from typing import Any

import torch
from torch import Tensor

from sj_kernels.neuron import kernels
from sj_kernels.neuron.surrogates import settings
from sj_kernels.once import once

_Gradients = tuple[Tensor | None, ...]

_ARGUMENTS = (
    "v_threshold", "v_reset", "alpha", "detach_reset", "grad_surrogate_function_index",
)  # fmt: skip
_OF_LIF = ("reciprocal_tau", "detach_input")


def _forward(
    ctx: Any, neuron: str, multi_step: bool, x: Tensor, v: Tensor, args: tuple[Any, ...]
) -> tuple[Tensor, Tensor]:
    names = (*_ARGUMENTS, *_OF_LIF) if neuron == "lif" else _ARGUMENTS
    if len(args) != len(names):
        raise TypeError(
            f"`apply` takes {2 + len(names)} arguments, got {2 + len(args)}: x, v, "
            f"{', '.join(names)}."
        )
    v_threshold, v_reset, alpha, detach_reset, index, *rest = args
    ctx.set_materialize_grads(False)
    ctx.settings = settings(
        neuron, multi_step, v_threshold, v_reset, *rest,
        alpha=alpha, detach_reset=detach_reset, index=index,
    )  # fmt: skip
    ctx.arguments = len(args)
    ctx.save_for_backward(x, v)
    s, v_next, _ = kernels.forward(ctx.settings, x, v)
    return s, v_next


def _backward(
    ctx: Any, saved: Any, grad_spike: Tensor | None, grad_v_next: Tensor | None
) -> _Gradients:
    x, v = saved
    grad_x, grad_v = kernels.backward(ctx.settings, grad_spike, grad_v_next, x, v)
    return grad_x, grad_v, *(None for _ in range(ctx.arguments))


class _Function(torch.autograd.Function):
    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> _Gradients:
        return once(_backward, ctx, *gradients)


class IFStep(_Function):
    """One step of IF: `x` and `v` `[*]`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, v: Tensor, *args: Any) -> tuple[Tensor, Tensor]:
        return _forward(ctx, "if", False, x, v, args)


class IFMultiStep(_Function):
    """All steps of IF: `x` `[T, *]`, `v` `[*]`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, v: Tensor, *args: Any) -> tuple[Tensor, Tensor]:
        return _forward(ctx, "if", True, x, v, args)


class LIFStep(_Function):
    """One step of LIF: `x` and `v` `[*]`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, v: Tensor, *args: Any) -> tuple[Tensor, Tensor]:
        return _forward(ctx, "lif", False, x, v, args)


class LIFMultiStep(_Function):
    """All steps of LIF: `x` `[T, *]`, `v` `[*]`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, v: Tensor, *args: Any) -> tuple[Tensor, Tensor]:
        return _forward(ctx, "lif", True, x, v, args)

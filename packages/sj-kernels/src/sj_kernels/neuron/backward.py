"""The chain rule over stored derivatives; its contract stands in the docstring of the package."""

import torch
from torch import Tensor


def _check(
    grad_spike: Tensor,
    grad_v_next: Tensor,
    grad_s_to_h: Tensor,
    grad_v_to_h: Tensor,
    step: torch.Size,
) -> None:
    for argument, value in (("grad_spike", grad_spike), ("grad_v_to_h", grad_v_to_h)):
        if value.shape != grad_s_to_h.shape:
            raise ValueError(
                f"`{argument}` (shape {list(value.shape)}) must have the shape of `grad_s_to_h`, "
                f"{list(grad_s_to_h.shape)}."
            )
    if grad_v_next.shape != step:
        raise ValueError(
            f"`grad_v_next` (shape {list(grad_v_next.shape)}) must have the shape of one step, "
            f"{list(step)}."
        )


def _derivatives(reciprocal_tau: float, detach_input: bool) -> tuple[float, float]:
    # of H with respect to X and V
    return (1.0 if detach_input else reciprocal_tau), 1.0 - reciprocal_tau


def _bptt(
    grad_spike_seq: Tensor,
    grad_v_next: Tensor,
    grad_s_to_h: Tensor,
    grad_v_to_h: Tensor,
    dh_dx: float,
    dh_dv: float,
) -> tuple[Tensor, Tensor]:
    if grad_s_to_h.dim() == 0:
        raise ValueError("`grad_s_to_h` (shape []) must be [T, *] for all steps.")
    _check(grad_spike_seq, grad_v_next, grad_s_to_h, grad_v_to_h, grad_s_to_h.shape[1:])
    with torch.no_grad():
        grad_x = torch.empty_like(grad_spike_seq)
        grad_v = grad_v_next.to(grad_s_to_h.dtype)
        for t in range(grad_s_to_h.shape[0] - 1, -1, -1):
            grad_h = grad_v * grad_v_to_h[t]
            grad_h.addcmul_(grad_spike_seq[t].to(grad_h.dtype), grad_s_to_h[t])
            grad_x[t] = grad_h * dh_dx
            grad_v = grad_h * dh_dv
        return grad_x, grad_v.clone() if grad_v is grad_v_next else grad_v


def IF_backward(
    grad_spike: Tensor, grad_v_next: Tensor, grad_s_to_h: Tensor, grad_v_to_h: Tensor
) -> tuple[Tensor, Tensor]:
    """Return `(grad_x, grad_v)` of one step of IF."""
    _check(grad_spike, grad_v_next, grad_s_to_h, grad_v_to_h, grad_s_to_h.shape)
    grad_x, grad_v = _bptt(
        grad_spike[None], grad_v_next, grad_s_to_h[None], grad_v_to_h[None], 1.0, 1.0
    )
    return grad_x[0], grad_v


def LIF_backward(
    grad_spike: Tensor,
    grad_v_next: Tensor,
    grad_s_to_h: Tensor,
    grad_v_to_h: Tensor,
    reciprocal_tau: float,
    detach_input: bool,
) -> tuple[Tensor, Tensor]:
    """Return `(grad_x, grad_v)` of one step of LIF."""
    _check(grad_spike, grad_v_next, grad_s_to_h, grad_v_to_h, grad_s_to_h.shape)
    grad_x, grad_v = _bptt(
        grad_spike[None],
        grad_v_next,
        grad_s_to_h[None],
        grad_v_to_h[None],
        *_derivatives(reciprocal_tau, detach_input),
    )
    return grad_x[0], grad_v


def IF_bptt(
    grad_spike_seq: Tensor, grad_v_next: Tensor, grad_s_to_h: Tensor, grad_v_to_h: Tensor
) -> tuple[Tensor, Tensor]:
    """Return `(grad_x_seq, grad_v)` of all steps of IF."""
    return _bptt(grad_spike_seq, grad_v_next, grad_s_to_h, grad_v_to_h, 1.0, 1.0)


def LIF_bptt(
    grad_spike_seq: Tensor,
    grad_v_next: Tensor,
    grad_s_to_h: Tensor,
    grad_v_to_h: Tensor,
    reciprocal_tau: float,
    detach_input: bool,
) -> tuple[Tensor, Tensor]:
    """Return `(grad_x_seq, grad_v)` of all steps of LIF."""
    return _bptt(
        grad_spike_seq,
        grad_v_next,
        grad_s_to_h,
        grad_v_to_h,
        *_derivatives(reciprocal_tau, detach_input),
    )

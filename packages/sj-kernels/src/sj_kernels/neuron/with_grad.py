"""The forward functions that also return derivatives; their contract stands in the package."""

import torch
from torch import Tensor

from sj_kernels.neuron import kernels
from sj_kernels.neuron.surrogates import settings

Outputs = tuple[Tensor, Tensor, Tensor, Tensor]


def _charge(
    neuron: str, x: Tensor, v: Tensor, v_rest: float, reciprocal_tau: float, detach_input: bool
) -> Tensor:
    # The order of operations of include/sj/dynamics.hpp: the same bits.
    if neuron == "if":
        return v + x
    if detach_input:
        return v - (v - v_rest) * reciprocal_tau + x
    return v + (x - (v - v_rest)) * reciprocal_tau


def _run(
    neuron: str,
    multi_step: bool,
    x: Tensor,
    v: Tensor,
    v_threshold: float,
    v_reset: float | None,
    alpha: float,
    detach_reset: bool,
    index: int,
    reciprocal_tau: float = 1.0,
    detach_input: bool = False,
) -> Outputs:
    chosen = settings(
        neuron, multi_step, v_threshold, v_reset, reciprocal_tau, detach_input,
        alpha=alpha, detach_reset=detach_reset, index=index, store_v_seq=True,
    )  # fmt: skip
    with torch.no_grad():
        s, v_next, v_seq = kernels.forward(chosen, x, v)
        assert v_seq is not None
        before = torch.cat([v.unsqueeze(0), v_seq[:-1]]) if multi_step else v
        if multi_step and x.shape[0] == 0:
            before = v_seq
        v_rest = 0.0 if v_reset is None else v_reset
        h = _charge(neuron, x.to(v.dtype), before, v_rest, reciprocal_tau, detach_input)
        # An IF that starts at 0 has H = X: its backward is the pair of derivatives at H.
        step = settings(
            "if", False, v_threshold, v_reset, alpha=alpha, detach_reset=detach_reset, index=index
        )
        ones = torch.ones_like(h)
        grad_s_to_h, _ = kernels.backward(step, ones, None, h, None)
        grad_v_to_h, _ = kernels.backward(step, None, ones, h, None)
    return s, v_next, grad_s_to_h, grad_v_to_h


def IF_hard_reset_forward_with_grad(
    x: Tensor,
    v: Tensor,
    v_threshold: float,
    v_reset: float,
    alpha: float,
    detach_reset: bool,
    grad_surrogate_function_index: int,
) -> Outputs:
    """One step of IF, hard reset: `(spike, v_next, grad_s_to_h, grad_v_to_h)`."""
    return _run(
        "if", False, x, v, v_threshold, v_reset, alpha, detach_reset,
        grad_surrogate_function_index,
    )  # fmt: skip


def IF_hard_reset_fptt_with_grad(
    x_seq: Tensor,
    v: Tensor,
    v_threshold: float,
    v_reset: float,
    alpha: float,
    detach_reset: bool,
    grad_surrogate_function_index: int,
) -> Outputs:
    """All steps of IF, hard reset: `(spike_seq, v_next, grad_s_to_h, grad_v_to_h)`."""
    return _run(
        "if", True, x_seq, v, v_threshold, v_reset, alpha, detach_reset,
        grad_surrogate_function_index,
    )  # fmt: skip


def IF_soft_reset_forward_with_grad(
    x: Tensor,
    v: Tensor,
    v_threshold: float,
    alpha: float,
    detach_reset: bool,
    grad_surrogate_function_index: int,
) -> Outputs:
    """One step of IF, soft reset: `(spike, v_next, grad_s_to_h, grad_v_to_h)`."""
    return _run(
        "if", False, x, v, v_threshold, None, alpha, detach_reset,
        grad_surrogate_function_index,
    )  # fmt: skip


def IF_soft_reset_fptt_with_grad(
    x_seq: Tensor,
    v: Tensor,
    v_threshold: float,
    alpha: float,
    detach_reset: bool,
    grad_surrogate_function_index: int,
) -> Outputs:
    """All steps of IF, soft reset: `(spike_seq, v_next, grad_s_to_h, grad_v_to_h)`."""
    return _run(
        "if", True, x_seq, v, v_threshold, None, alpha, detach_reset,
        grad_surrogate_function_index,
    )  # fmt: skip


def LIF_hard_reset_forward_with_grad(
    x: Tensor,
    v: Tensor,
    v_threshold: float,
    v_reset: float,
    alpha: float,
    detach_reset: bool,
    grad_surrogate_function_index: int,
    reciprocal_tau: float,
    detach_input: bool,
) -> Outputs:
    """One step of LIF, hard reset: `(spike, v_next, grad_s_to_h, grad_v_to_h)`."""
    return _run(
        "lif", False, x, v, v_threshold, v_reset, alpha, detach_reset,
        grad_surrogate_function_index, reciprocal_tau, detach_input,
    )  # fmt: skip


def LIF_hard_reset_fptt_with_grad(
    x_seq: Tensor,
    v: Tensor,
    v_threshold: float,
    v_reset: float,
    alpha: float,
    detach_reset: bool,
    grad_surrogate_function_index: int,
    reciprocal_tau: float,
    detach_input: bool,
) -> Outputs:
    """All steps of LIF, hard reset: `(spike_seq, v_next, grad_s_to_h, grad_v_to_h)`."""
    return _run(
        "lif", True, x_seq, v, v_threshold, v_reset, alpha, detach_reset,
        grad_surrogate_function_index, reciprocal_tau, detach_input,
    )  # fmt: skip


def LIF_soft_reset_forward_with_grad(
    x: Tensor,
    v: Tensor,
    v_threshold: float,
    alpha: float,
    detach_reset: bool,
    grad_surrogate_function_index: int,
    reciprocal_tau: float,
    detach_input: bool,
) -> Outputs:
    """One step of LIF, soft reset: `(spike, v_next, grad_s_to_h, grad_v_to_h)`."""
    return _run(
        "lif", False, x, v, v_threshold, None, alpha, detach_reset,
        grad_surrogate_function_index, reciprocal_tau, detach_input,
    )  # fmt: skip


def LIF_soft_reset_fptt_with_grad(
    x_seq: Tensor,
    v: Tensor,
    v_threshold: float,
    alpha: float,
    detach_reset: bool,
    grad_surrogate_function_index: int,
    reciprocal_tau: float,
    detach_input: bool,
) -> Outputs:
    """All steps of LIF, soft reset: `(spike_seq, v_next, grad_s_to_h, grad_v_to_h)`."""
    return _run(
        "lif", True, x_seq, v, v_threshold, None, alpha, detach_reset,
        grad_surrogate_function_index, reciprocal_tau, detach_input,
    )  # fmt: skip

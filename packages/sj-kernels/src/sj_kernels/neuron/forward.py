"""The plain forward functions; their contract stands in the docstring of the package."""

from typing import Any

import torch
from torch import Tensor

from sj_kernels.neuron import kernels
from sj_kernels.neuron.surrogates import settings


def _run(neuron: str, multi_step: bool, x: Tensor, v: Tensor, *args: Any) -> tuple[Tensor, Tensor]:
    v_threshold, v_reset, *rest = args
    chosen = settings(neuron, multi_step, v_threshold, v_reset, *rest)
    with torch.no_grad():
        s, v_next, _ = kernels.forward(chosen, x, v)
    return s, v_next


def IF_hard_reset_forward(
    x: Tensor, v: Tensor, v_threshold: float, v_reset: float
) -> tuple[Tensor, Tensor]:
    """Run one step of IF with a hard reset: `(spike, v_next)`."""
    return _run("if", False, x, v, v_threshold, v_reset)


def IF_hard_reset_fptt(
    x_seq: Tensor, v: Tensor, v_threshold: float, v_reset: float
) -> tuple[Tensor, Tensor]:
    """Run all steps of IF with a hard reset: `(spike_seq, v_next)`."""
    return _run("if", True, x_seq, v, v_threshold, v_reset)


def IF_soft_reset_forward(x: Tensor, v: Tensor, v_threshold: float) -> tuple[Tensor, Tensor]:
    """Run one step of IF with a soft reset: `(spike, v_next)`."""
    return _run("if", False, x, v, v_threshold, None)


def IF_soft_reset_fptt(x_seq: Tensor, v: Tensor, v_threshold: float) -> tuple[Tensor, Tensor]:
    """Run all steps of IF with a soft reset: `(spike_seq, v_next)`."""
    return _run("if", True, x_seq, v, v_threshold, None)


def LIF_hard_reset_forward(
    x: Tensor,
    v: Tensor,
    v_threshold: float,
    v_reset: float,
    reciprocal_tau: float,
    detach_input: bool,
) -> tuple[Tensor, Tensor]:
    """Run one step of LIF with a hard reset: `(spike, v_next)`."""
    return _run("lif", False, x, v, v_threshold, v_reset, reciprocal_tau, detach_input)


def LIF_hard_reset_fptt(
    x_seq: Tensor,
    v: Tensor,
    v_threshold: float,
    v_reset: float,
    reciprocal_tau: float,
    detach_input: bool,
) -> tuple[Tensor, Tensor]:
    """Run all steps of LIF with a hard reset: `(spike_seq, v_next)`."""
    return _run("lif", True, x_seq, v, v_threshold, v_reset, reciprocal_tau, detach_input)


def LIF_soft_reset_forward(
    x: Tensor, v: Tensor, v_threshold: float, reciprocal_tau: float, detach_input: bool
) -> tuple[Tensor, Tensor]:
    """Run one step of LIF with a soft reset: `(spike, v_next)`."""
    return _run("lif", False, x, v, v_threshold, None, reciprocal_tau, detach_input)


def LIF_soft_reset_fptt(
    x_seq: Tensor, v: Tensor, v_threshold: float, reciprocal_tau: float, detach_input: bool
) -> tuple[Tensor, Tensor]:
    """Run all steps of LIF with a soft reset: `(spike_seq, v_next)`."""
    return _run("lif", True, x_seq, v, v_threshold, None, reciprocal_tau, detach_input)

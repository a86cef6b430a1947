"""The exponential integrate-and-fire neuron."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sj_core._checks import as_float, as_positive
from sj_core.neuron.base import BaseNode


class EIFNode(BaseNode):
    """Exponential integrate-and-fire neuron: a soft threshold `theta_rh`, of sharpness `delta_T`.

    Equation: `H = V + (X + v_rest - V + delta_T exp((V - theta_rh)/delta_T))/tau`, then fire and
    reset as in `BaseNode`.

    Shapes: `(N, *)` ('s') or `(T, N, *)` ('m') to the same shape and dtype.

    Errors: ValueError if `tau` or `delta_T` is not greater than 0.

    Source: Fourcaud-Trocmé et al., "How spike generation mechanisms determine the neuronal response
    to fluctuating inputs", 2003.

    Example:
        >>> import torch
        >>> from sj_core.neuron import EIFNode
        >>> EIFNode(step_mode="m")(torch.full((4, 1), 0.9)).flatten()
        tensor([0., 1., 0., 1.])
    """

    native_name = "eif"

    def __init__(
        self,
        tau: float = 2.0,
        delta_T: float = 1.0,
        theta_rh: float = 0.8,
        v_threshold: float = 1.0,
        v_rest: float = 0.0,
        v_reset: float | None = -0.1,
        surrogate_function: nn.Module | None = None,
        detach_reset: bool = False,
        step_mode: str = "s",
        backend: str = "auto",
        store_v_seq: bool = False,
    ) -> None:
        tau_ = as_positive("tau", tau)
        super().__init__(
            v_threshold, v_reset, surrogate_function, detach_reset, step_mode, backend, store_v_seq
        )
        self.tau = tau_
        self.delta_T = as_positive("delta_T", delta_T)
        self.theta_rh = as_float("theta_rh", theta_rh)
        self.v_rest = as_float("v_rest", v_rest)

    def neuronal_charge(self, x: Tensor) -> Tensor:
        v: Tensor = self.v
        # exp is not correctly rounded: taken in float64 it gives the same float32 everywhere.
        rise = torch.exp(((v - self.theta_rh) * (1.0 / self.delta_T)).double()).to(v.dtype)
        return v + (x + self.v_rest - v + self.delta_T * rise) * (1.0 / self.tau)

    def native_params(self) -> tuple[float, ...]:
        return (1.0 / self.tau, self.delta_T, self.theta_rh, self.v_rest)

    def extra_repr(self) -> str:
        return (
            f"tau={self.tau}, delta_T={self.delta_T}, theta_rh={self.theta_rh}, "
            f"v_rest={self.v_rest}, {super().extra_repr()}"
        )

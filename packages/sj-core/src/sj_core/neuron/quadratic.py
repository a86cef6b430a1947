"""The quadratic integrate-and-fire neuron."""

from __future__ import annotations

from torch import Tensor, nn

from sj_core._checks import as_float, as_positive
from sj_core.neuron.base import BaseNode


class QIFNode(BaseNode):
    """Quadratic integrate-and-fire neuron: above `v_c` the voltage takes off by itself.

    Equation: `H = V + (X + a0 (V - v_rest)(V - v_c))/tau`, then fire and reset as in `BaseNode`.

    Shapes: `(N, *)` ('s') or `(T, N, *)` ('m') to the same shape and dtype.

    Errors: ValueError if `tau` or `a0` is not greater than 0.

    Source: Ermentrout and Kopell, 1986; Gerstner et al., "Neuronal Dynamics", 2014, section 5.3.

    Example:
        >>> import torch
        >>> from sj_core.neuron import QIFNode
        >>> QIFNode(step_mode="m")(torch.full((4, 1), 1.2)).flatten()
        tensor([0., 1., 0., 1.])
    """

    native_name = "qif"

    def __init__(
        self,
        tau: float = 2.0,
        v_c: float = 0.8,
        a0: float = 1.0,
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
        self.v_c = as_float("v_c", v_c)
        self.a0 = as_positive("a0", a0)
        self.v_rest = as_float("v_rest", v_rest)

    def neuronal_charge(self, x: Tensor) -> Tensor:
        v: Tensor = self.v
        return v + (x + self.a0 * (v - self.v_rest) * (v - self.v_c)) * (1.0 / self.tau)

    def native_params(self) -> tuple[float, ...]:
        return (1.0 / self.tau, self.v_c, self.a0, self.v_rest)

    def extra_repr(self) -> str:
        return (
            f"tau={self.tau}, v_c={self.v_c}, a0={self.a0}, v_rest={self.v_rest}, "
            f"{super().extra_repr()}"
        )

"""The Izhikevich neuron."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from sj_core._checks import as_float, as_positive
from sj_core.neuron.base import BaseNode


class IzhikevichNode(BaseNode):
    """Izhikevich neuron: a quadratic neuron with an adaptation current `W` (memory `w`).

    Equation: `H = V + (X + a0 (V - v_rest)(V - v_c) - W)/tau`;
    `W' = W + (a (H - v_rest) - W)/tau_w`; then fire and reset as in `BaseNode`, and
    `W <- W' + b S` (a gradient flows through this S with `detach_reset` too). `W` starts at
    `w_rest`.

    Shapes: `(N, *)` ('s') or `(T, N, *)` ('m') to the same shape and dtype.

    Errors: ValueError if `tau`, `tau_w` or `a0` is not greater than 0.

    Source: Izhikevich, "Simple model of spiking neurons", 2003.

    Example:
        >>> import torch
        >>> from sj_core.neuron import IzhikevichNode
        >>> node = IzhikevichNode(b=0.5, step_mode="m")
        >>> node(torch.full((6, 1), 2.0)).flatten(), node.w
        (tensor([0., 1., 0., 1., 0., 1.]), tensor([0.6562]))
    """

    native_name = "izhikevich"
    native_memories = ("v", "w")
    w: Any

    def __init__(
        self,
        tau: float = 2.0,
        v_c: float = 0.8,
        a0: float = 1.0,
        v_threshold: float = 1.0,
        v_reset: float | None = 0.0,
        v_rest: float = -0.1,
        w_rest: float = 0.0,
        tau_w: float = 2.0,
        a: float = 0.0,
        b: float = 0.0,
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
        self.tau_w = as_positive("tau_w", tau_w)
        self.a = as_float("a", a)
        self.b = as_float("b", b)
        self.register_memory("w", 0.0)
        self.w_rest = w_rest

    @property
    def w_rest(self) -> float:
        """Where W starts."""
        return self._w_rest

    @w_rest.setter
    def w_rest(self, value: float) -> None:
        value = as_float("w_rest", value)
        self.move_reset_value("w", self.__dict__.get("_w_rest", 0.0), value)
        self._w_rest = value

    def neuronal_charge(self, x: Tensor) -> Tensor:
        v: Tensor = self.v
        drive = x + self.a0 * (v - self.v_rest) * (v - self.v_c) - self.w
        h = v + drive * (1.0 / self.tau)
        self.w = self.w + (self.a * (h - self.v_rest) - self.w) * (1.0 / self.tau_w)
        return h

    def neuronal_reset(self, spike: Tensor) -> None:
        super().neuronal_reset(spike)
        self.w = self.w + self.b * spike

    def native_params(self) -> tuple[float, ...]:
        return (1.0 / self.tau, self.v_c, self.a0, self.v_rest, 1.0 / self.tau_w, self.a, self.b)

    def extra_repr(self) -> str:
        return (
            f"tau={self.tau}, v_c={self.v_c}, a0={self.a0}, v_rest={self.v_rest}, "
            f"w_rest={self.w_rest}, tau_w={self.tau_w}, a={self.a}, b={self.b}, "
            f"{super().extra_repr()}"
        )

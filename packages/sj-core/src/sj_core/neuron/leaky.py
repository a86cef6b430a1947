"""Leaky integrate-and-fire neurons, with a fixed and with a learnable time constant."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from sj_core.neuron.base import BaseNode, as_float


class LeakyNode(BaseNode):
    """What the leaky neurons share: the leak towards a rest potential ``v_rest``.

    ``v_rest=None`` means ``v_reset``, or 0 for soft reset.
    """

    def __init__(self, decay_input: bool, v_rest: float | None, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.decay_input = bool(decay_input)
        self.v_rest = None if v_rest is None else as_float("v_rest", v_rest)

    @property
    def rest(self) -> float:
        """The potential that V leaks to."""
        if self.v_rest is not None:
            return self.v_rest
        return 0.0 if self.v_reset is None else self.v_reset

    def leak(self, x: Tensor, reciprocal_tau: float | Tensor) -> Tensor:
        """The charged voltage. The kernels do the same operations in the same order."""
        rest = self.rest
        away = self.v if rest == 0.0 else self.v - rest
        if self.decay_input:
            return self.v + (x - away) * reciprocal_tau
        return self.v - away * reciprocal_tau + x


class LIFNode(LeakyNode):
    """Leaky integrate-and-fire neuron.

    With ``v0 = v_rest``: ``H = V + (X - (V - v0))/tau`` (``decay_input``), else
    ``H = V - (V - v0)/tau + X``. ``tau`` is in time steps and greater than 1.

    >>> import torch
    >>> from sj_core.neuron import LIFNode
    >>> LIFNode(tau=2.0, step_mode="m")(torch.full((4, 1), 1.5)).flatten().tolist()
    [0.0, 1.0, 0.0, 1.0]
    """

    native_name = "lif"

    def __init__(
        self,
        tau: float = 2.0,
        decay_input: bool = True,
        v_threshold: float = 1.0,
        v_reset: float | None = 0.0,
        surrogate_function: nn.Module | None = None,
        detach_reset: bool = False,
        step_mode: str = "s",
        backend: str = "auto",
        store_v_seq: bool = False,
        *,
        v_rest: float | None = None,
    ) -> None:
        tau_ = as_float("tau", tau)
        if not tau_ > 1.0:
            raise ValueError(f"`tau` (={tau}) must be greater than 1.")
        super().__init__(
            decay_input,
            v_rest,
            v_threshold,
            v_reset,
            surrogate_function,
            detach_reset,
            step_mode,
            backend,
            store_v_seq,
        )
        self.tau = tau_

    def neuronal_charge(self, x: Tensor) -> Tensor:
        return self.leak(x, 1.0 / self.tau)

    def native_params(self) -> tuple[float, ...]:
        return (1.0 / self.tau, self.rest, float(self.decay_input))

    def extra_repr(self) -> str:
        return f"tau={self.tau}, decay_input={self.decay_input}, {super().extra_repr()}"


class ParametricLIFNode(LeakyNode):
    """LIF neuron that learns its time constant (Fang et al. 2021).

    ``1/tau = sigma(w)`` with ``w`` learnable, of shape ``(1,)``, ``-ln(init_tau - 1)`` at first.

    >>> from sj_core.neuron import ParametricLIFNode
    >>> ParametricLIFNode(init_tau=2.0).w.shape
    torch.Size([1])
    """

    native_name = "plif"

    def __init__(
        self,
        init_tau: float = 2.0,
        decay_input: bool = True,
        v_threshold: float = 1.0,
        v_reset: float | None = 0.0,
        surrogate_function: nn.Module | None = None,
        detach_reset: bool = False,
        step_mode: str = "s",
        backend: str = "auto",
        store_v_seq: bool = False,
        *,
        v_rest: float | None = None,
    ) -> None:
        tau = as_float("init_tau", init_tau)
        if not tau > 1.0:
            raise ValueError(f"`init_tau` (={init_tau}) must be greater than 1.")
        super().__init__(
            decay_input,
            v_rest,
            v_threshold,
            v_reset,
            surrogate_function,
            detach_reset,
            step_mode,
            backend,
            store_v_seq,
        )
        self.w = nn.Parameter(torch.tensor([-math.log(tau - 1.0)]))

    def neuronal_charge(self, x: Tensor) -> Tensor:
        return self.leak(x, self.w.to(x.dtype).sigmoid())

    def native_params(self) -> tuple[float, ...]:
        return (self.rest, float(self.decay_input))

    def native_decay(self, x: Tensor) -> Tensor:
        dtype = torch.float64 if x.dtype == torch.float64 else torch.float32
        return self.w.to(dtype).sigmoid()

    def extra_repr(self) -> str:
        tau = 1.0 / self.w.detach().sigmoid().item()
        return f"tau={tau:.4g}, decay_input={self.decay_input}, {super().extra_repr()}"

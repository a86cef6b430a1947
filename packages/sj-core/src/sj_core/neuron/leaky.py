"""Leaky integrate-and-fire neurons, with a fixed and with a learnable time constant."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from sj_core._checks import as_flag, as_float, as_tau
from sj_core.base import state_dtype
from sj_core.neuron.base import BaseNode


class LeakyNode(BaseNode):
    """What the leaky neurons share: the leak towards a rest potential `v_rest`.

    Equation: `leak(X, 1/tau) = V + (X - (V - v0))/tau` with `decay_input`, else
    `V - (V - v0)/tau + X`; `v0` is `v_rest`, else `v_reset`, else 0.

    Example:
        >>> from sj_core.neuron import LIFNode
        >>> LIFNode(v_reset=-0.2).rest, LIFNode(v_reset=-0.2, v_rest=0.1).rest
        (-0.2, 0.1)
    """

    def __init__(self, decay_input: bool, v_rest: float | None, *args: Any) -> None:
        super().__init__(*args)
        self.decay_input = as_flag("decay_input", decay_input)
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
        h: Tensor
        if self.decay_input:
            h = self.v + (x - away) * reciprocal_tau
        else:
            h = self.v - away * reciprocal_tau + x
        return h

    def extra_repr(self) -> str:
        return f"decay_input={self.decay_input}, v_rest={self.v_rest}, {super().extra_repr()}"


class FixedTauNode(LeakyNode):
    """A leaky neuron with the time constant `tau`, in steps: base of LIF and its variants.

    Errors: ValueError if `tau` is not greater than 1.

    Example:
        >>> from sj_core.neuron import LIFNode
        >>> LIFNode(tau=4).tau
        4.0
    """

    def __init__(self, tau: float, decay_input: bool, v_rest: float | None, *args: Any) -> None:
        tau_ = as_tau("tau", tau)
        super().__init__(decay_input, v_rest, *args)
        self.tau = tau_

    def neuronal_charge(self, x: Tensor) -> Tensor:
        return self.leak(x, 1.0 / self.tau)

    def extra_repr(self) -> str:
        return f"tau={self.tau}, {super().extra_repr()}"


class LIFNode(FixedTauNode):
    """Leaky integrate-and-fire neuron.

    Equation: `H = V + (X - (V - v0))/tau` (`decay_input=True`), else `H = V - (V - v0)/tau + X`,
    then fire and reset as in `BaseNode`; `v0` is `v_rest`, else `v_reset`, else 0; `tau` is in
    steps. From rest at 0, a constant input `x` gives `H[t] = x (1 - (1 - 1/tau)^t)`.

    Shapes: `(N, *)` ('s') or `(T, N, *)` ('m') to the same shape and dtype.

    Errors: ValueError if `tau` is not greater than 1.

    Source: Gerstner et al., "Neuronal Dynamics", 2014, chapter 1.

    Example:
        >>> import torch
        >>> from sj_core.neuron import LIFNode
        >>> LIFNode(tau=2.0, step_mode="m")(torch.full((4, 1), 1.5)).flatten()
        tensor([0., 1., 0., 1.])
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
        super().__init__(
            tau,
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

    def native_params(self) -> tuple[float, ...]:
        return (1.0 / self.tau, self.rest, float(self.decay_input))


class ParametricLIFNode(LeakyNode):
    """LIF neuron that learns its time constant.

    Equation: that of `LIFNode` with `1/tau = sigma(w)`; `w`, of shape `(1,)`, is a parameter and
    starts at `-ln(init_tau - 1)`.

    Shapes: `(N, *)` ('s') or `(T, N, *)` ('m') to the same shape and dtype.

    Errors: ValueError if `init_tau` is not greater than 1.

    Source: Fang et al., "Incorporating learnable membrane time constant to enhance learning of
    spiking neural networks", 2021.

    Example:
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
        tau = as_tau("init_tau", init_tau)
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
        self.init_tau = tau
        self.w = nn.Parameter(torch.tensor([-math.log(tau - 1.0)]))

    def neuronal_charge(self, x: Tensor) -> Tensor:
        return self.leak(x, self.native_decay(x))

    def native_params(self) -> tuple[float, ...]:
        return (self.rest, float(self.decay_input))

    def native_decay(self, x: Tensor) -> Tensor:
        return self.w.to(state_dtype(x)).sigmoid()

    def extra_repr(self) -> str:
        return f"init_tau={self.init_tau}, {super().extra_repr()}"

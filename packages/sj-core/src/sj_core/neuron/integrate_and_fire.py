"""Integrate-and-fire neurons."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from sj_core.base import state_dtype
from sj_core.neuron.base import BaseNode


class IFNode(BaseNode):
    """Integrate-and-fire neuron: a perfect integrator.

    Equation: `H[t] = V[t-1] + X[t]`, then fire and reset as in `BaseNode`. A constant input `x`
    with `0 < x <= v_threshold` makes it fire every `ceil(v_threshold / x)` steps from `v_reset=0`.

    Shapes: `(N, *)` ('s') or `(T, N, *)` ('m') to the same shape and dtype.

    Source: Lapicque, 1907.

    Example:
        >>> import torch
        >>> from sj_core.neuron import IFNode
        >>> IFNode(step_mode="m")(torch.full((4, 1), 0.5)).flatten()
        tensor([0., 1., 0., 1.])
    """

    native_name = "if"

    def neuronal_charge(self, x: Tensor) -> Tensor:
        h: Tensor = self.v + x
        return h


class HalfThresholdIFNode(IFNode):
    """IF neuron with soft reset that starts half-way to its threshold: the node of conversions.

    Equation: `H[t] = V[t-1] + X[t]`, `V[t] = H[t] - v_threshold S[t]`, `V[0] = v_threshold/2`.
    After T steps of a constant input `x` in [0, v_threshold] it has fired
    `floor(T x / v_threshold + 1/2)` times: the rate is `x / v_threshold` rounded, not rounded down.

    Shapes: `(N, *)` ('s') or `(T, N, *)` ('m') to the same shape and dtype.

    Source: Bu et al., "Optimal ANN-SNN conversion for high-accuracy and ultra-low-latency spiking
    neural networks", 2022.

    Example:
        >>> import torch
        >>> from sj_core.neuron import HalfThresholdIFNode
        >>> HalfThresholdIFNode(step_mode="m")(torch.full((4, 1), 0.4)).sum()
        tensor(2.)
    """

    native_name = "if"

    def __init__(
        self,
        v_threshold: float = 1.0,
        surrogate_function: nn.Module | None = None,
        detach_reset: bool = False,
        step_mode: str = "s",
        backend: str = "auto",
        store_v_seq: bool = False,
    ) -> None:
        super().__init__(
            v_threshold, None, surrogate_function, detach_reset, step_mode, backend, store_v_seq
        )
        self.reset()

    def __setattr__(self, name: str, value: Any) -> None:
        # A fresh V moves with a threshold that is set later.
        moves = name == "v_threshold" and "v" in self.__dict__ and not self.holds_state("v")
        super().__setattr__(name, value)
        if moves:
            self.v = self.v_threshold / 2

    def reset(self) -> None:
        """Put V to half of the threshold, as the threshold is now."""
        super().reset()
        self.v = self.v_threshold / 2

    def holds_state(self, name: str) -> bool:
        """Whether V is another than the half of the threshold that it starts from."""
        start = self.v_threshold / 2
        if isinstance(self.v, Tensor) and isinstance(start, Tensor):
            if self.v.shape != start.shape:
                return True
            return not (self.v.is_meta or torch.equal(self.v, start.to(self.v)))
        return isinstance(self.v, Tensor) or bool(self.v != start)

    def memory_like(self, name: str, x: Tensor) -> Tensor:
        # A threshold per channel gives V[0] per channel, which the first input makes full.
        value = getattr(self, name)
        per_channel = isinstance(self.v_threshold, Tensor) and isinstance(value, Tensor)
        if per_channel and value.shape == self.v_threshold.shape != x.shape:
            start = self.threshold(x.to(state_dtype(x)))
            return torch.as_tensor(start / 2).expand(x.shape).clone()
        return super().memory_like(name, x)

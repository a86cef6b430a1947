"""The LIF neuron with an adaptive threshold."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor, nn

from sj_core._checks import as_float, as_positive
from sj_core.neuron.leaky import FixedTauNode


class AdaptiveLIFNode(FixedTauNode):
    """LIF neuron whose threshold rises with every spike (memory `a`) and falls back slowly.

    Equation: the charge of `LIFNode`; `S = Theta(H - (v_threshold + beta A))`; a soft reset
    subtracts that threshold; then `A' = A exp(-1/tau_a) + S`, which starts at 0 and carries the
    gradient of S with `detach_reset` too. `tau_a` is in steps.

    Shapes: `(N, *)` ('s') or `(T, N, *)` ('m') to the same shape and dtype.

    Errors: ValueError if `tau` is not greater than 1 or `tau_a` not greater than 0.

    Source: Bellec et al., "Long short-term memory and learning-to-learn in networks of spiking
    neurons", 2018.

    Example:
        >>> import torch
        >>> from sj_core.neuron import AdaptiveLIFNode
        >>> AdaptiveLIFNode(beta=0.5, step_mode="m")(torch.full((6, 1), 2.5)).flatten()
        tensor([1., 0., 1., 0., 0., 1.])
    """

    a: Any

    def __init__(
        self,
        tau: float = 2.0,
        tau_a: float = 20.0,
        beta: float = 1.0,
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
        self.tau_a = as_positive("tau_a", tau_a)
        self.beta = as_float("beta", beta)
        self.register_memory("a", 0.0)

    def threshold(self, h: Tensor) -> Tensor:
        threshold: Tensor = super().threshold(h) + self.beta * self.a
        return threshold

    def neuronal_reset(self, spike: Tensor) -> None:
        super().neuronal_reset(spike)
        self.a = self.a * math.exp(-1.0 / self.tau_a) + spike

    def extra_repr(self) -> str:
        return f"tau_a={self.tau_a}, beta={self.beta}, {super().extra_repr()}"

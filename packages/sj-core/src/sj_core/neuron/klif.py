"""The KLIF neuron."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sj_core._checks import as_flag
from sj_core.neuron.leaky import FixedTauNode


class KLIFNode(FixedTauNode):
    """LIF neuron with a learnable gain `k` before the threshold.

    Equation: `H = relu(k H_lif)` with `H_lif` the charge of `LIFNode` and `k`, of shape `(1,)`, a
    parameter that starts at 1; `S = Theta(H - v_threshold)`; the reset works on `H` with
    `v_threshold`, or, with `scale_reset`, on `H/k` with `v_threshold/k`.

    Shapes: `(N, *)` ('s') or `(T, N, *)` ('m') to the same shape and dtype.

    Errors: ValueError if `tau` is not greater than 1.

    Source: Jiang and Zhang, "KLIF: an optimized spiking neuron unit for tuning surrogate gradient
    slope and membrane potential", 2023.

    Example:
        >>> import torch
        >>> from sj_core.neuron import KLIFNode
        >>> KLIFNode(step_mode="m")(torch.full((4, 1), 1.5)).flatten()
        tensor([0., 1., 0., 1.], grad_fn=<ViewBackward0>)
    """

    def __init__(
        self,
        scale_reset: bool = False,
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
        self.scale_reset = as_flag("scale_reset", scale_reset)
        self.k = nn.Parameter(torch.ones(1))

    def neuronal_charge(self, x: Tensor) -> Tensor:
        return (self.k.to(x.dtype) * super().neuronal_charge(x)).relu()

    def neuronal_reset(self, spike: Tensor) -> None:
        if not self.scale_reset:
            super().neuronal_reset(spike)
            return
        s = spike.detach() if self.detach_reset else spike
        k = self.k.to(spike.dtype)
        v = self.v / k
        if self.v_reset is None:
            self.v = v - s * (self.threshold(v) / k)
        else:
            self.v = s * self.v_reset + (1.0 - s) * v

    def extra_repr(self) -> str:
        return f"scale_reset={self.scale_reset}, {super().extra_repr()}"

"""The current-based LIF neuron."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from sj_core._checks import as_fraction
from sj_core.neuron.base import BaseNode


class CUBALIFNode(BaseNode):
    """Current-based LIF neuron: the input charges a synaptic current `C` (memory `c`).

    Equation: `C = c_decay C + X`; `H = v_decay V + C`; then fire and reset as in `BaseNode`.
    `C` starts at 0 and is not reset by a spike.

    Shapes: `(N, *)` ('s') or `(T, N, *)` ('m') to the same shape and dtype.

    Errors: ValueError if a decay is not between 0 and 1.

    Source: Davies et al., "Loihi: a neuromorphic manycore processor with on-chip learning", 2018.

    Example:
        >>> import torch
        >>> from sj_core.neuron import CUBALIFNode
        >>> CUBALIFNode(step_mode="m")(torch.tensor([[0.4], [0.0], [0.0]])).flatten()
        tensor([0., 1., 0.])
    """

    c: Any

    def __init__(
        self,
        c_decay: float = 0.5,
        v_decay: float = 0.75,
        v_threshold: float = 0.5,
        v_reset: float | None = 0.0,
        surrogate_function: nn.Module | None = None,
        detach_reset: bool = False,
        step_mode: str = "s",
        backend: str = "auto",
        store_v_seq: bool = False,
    ) -> None:
        decays = as_fraction("c_decay", c_decay), as_fraction("v_decay", v_decay)
        super().__init__(
            v_threshold, v_reset, surrogate_function, detach_reset, step_mode, backend, store_v_seq
        )
        self.c_decay, self.v_decay = decays
        self.register_memory("c", 0.0)

    def neuronal_charge(self, x: Tensor) -> Tensor:
        self.c = self.c_decay * self.c + x
        h: Tensor = self.v_decay * self.v + self.c
        return h

    def extra_repr(self) -> str:
        return f"c_decay={self.c_decay}, v_decay={self.v_decay}, {super().extra_repr()}"

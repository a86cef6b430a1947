"""The leaky integrate and analog fire neuron."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from sj_core._checks import as_flag
from sj_core.neuron.leaky import FixedTauNode


class LIAFNode(FixedTauNode):
    """LIF neuron that passes on an analogue value: its output is no spike.

    Equation: the charge, spike and reset of `LIFNode`; the output is `act(H - v_threshold)` with
    `threshold_related`, else `act(H)`. The spike S only resets.

    Shapes: `(N, *)` ('s') or `(T, N, *)` ('m') to the same shape and dtype.

    Errors: TypeError if `act` cannot be called; ValueError if `tau` is not greater than 1.

    Source: Wu et al., "LIAF-Net: leaky integrate and analog fire network for lightweight and
    efficient spatiotemporal information processing", 2021.

    Example:
        >>> import torch
        >>> from sj_core.neuron import LIAFNode
        >>> LIAFNode(torch.relu, False, step_mode="m")(torch.full((3, 1), 1.5)).flatten()
        tensor([0.7500, 1.1250, 0.7500])
    """

    def __init__(
        self,
        act: Callable[[Tensor], Tensor],
        threshold_related: bool,
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
        if not callable(act):
            raise TypeError(f"`act` (={act!r}) must be a function of a tensor, such as torch.relu.")
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
        self.act = act
        self.threshold_related = as_flag("threshold_related", threshold_related)

    def _step(self, x: Tensor) -> Tensor:
        self.v = h = self.neuronal_charge(x)
        # First what reads H: an `act` in place, such as nn.ReLU(inplace=True), may overwrite it.
        self.neuronal_reset(self.neuronal_fire())
        return self.act(h - self.threshold(h) if self.threshold_related else h)

    def extra_repr(self) -> str:
        act = "" if isinstance(self.act, nn.Module) else f"act={self.act}, "
        return f"{act}threshold_related={self.threshold_related}, {super().extra_repr()}"

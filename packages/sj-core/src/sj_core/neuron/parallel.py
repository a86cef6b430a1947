"""Parallel spiking neurons: no reset, so that all steps are one product over time."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from sj_core._checks import as_count
from sj_core.base import state_dtype
from sj_core.neuron.spiking import SpikingNode


class ParallelNode(SpikingNode):
    """What the parallel neurons share: the spike of a weighted sum over time.

    Example:
        >>> from sj_core.neuron import PSN
        >>> PSN(T=2).supported_step_mode()
        ('m',)
    """

    weight: nn.Parameter
    bias: nn.Parameter

    def _spike(self, h: Tensor, x: Tensor) -> Tensor:
        spike: Tensor = self.surrogate_function(h)
        return spike.to(x.dtype)

    def _product(self, weight: Tensor, x_seq: Tensor) -> Tensor:
        """`weight @ x_seq + bias` over time, in the state's dtype, also under autocast."""
        dtype = state_dtype(x_seq)
        device = "cpu" if x_seq.is_meta else x_seq.device.type  # meta tensors have no autocast
        with torch.autocast(device, enabled=False):
            h = torch.addmm(self.bias.to(dtype), weight, x_seq.to(dtype).flatten(1))
        return h.view(x_seq.shape)


class PSN(ParallelNode):
    """Parallel spiking neuron: every step sees every step of the sequence.

    Equation: `H = W X + b`, `S = Theta(H)`, over time: `weight` W is `(T, T)`, `bias` b is `(T, 1)`
    and starts at -1 (a threshold of 1). It has no state.

    Shapes: `(T, N, *)` to the same shape and dtype; 'm' only.

    Errors: ValueError if the sequence has not T steps, or for `step_mode='s'`.

    Source: Fang et al., "Parallel spiking neurons with high efficiency and ability to learn
    long-term dependencies", 2023.

    Example:
        >>> import torch
        >>> from sj_core.neuron import PSN
        >>> node = PSN(T=3)
        >>> torch.nn.init.eye_(node.weight)[0]
        tensor([1., 0., 0.], grad_fn=<SelectBackward0>)
        >>> node(torch.tensor([[0.5], [1.5], [2.0]])).detach().flatten()
        tensor([0., 1., 1.])
    """

    def __init__(
        self,
        T: int,
        surrogate_function: nn.Module | None = None,
        step_mode: str = "m",
        backend: str = "auto",
    ) -> None:
        super().__init__(surrogate_function, step_mode, backend)
        self.T = as_count("T", T)
        self.weight = nn.Parameter(full_weight(T))
        self.bias = nn.Parameter(torch.full((T, 1), -1.0))

    def supported_step_mode(self) -> tuple[str, ...]:
        return ("m",)

    def multi_step_forward(self, x_seq: Tensor) -> Tensor:
        dtype = state_dtype(x_seq)
        if x_seq.shape[0] == 0:
            return torch.empty_like(x_seq)
        check_steps(self, self.T, x_seq)
        return self._spike(self._product(self.weight.to(dtype), x_seq), x_seq)

    def extra_repr(self) -> str:
        return f"T={self.T}, step_mode={self.step_mode!r}, backend={self.backend!r}"


def full_weight(T: int) -> Tensor:
    return nn.init.kaiming_uniform_(torch.empty(T, T), a=math.sqrt(5))


def check_steps(node: ParallelNode, T: int, x_seq: Tensor) -> None:
    if x_seq.shape[0] != T:
        raise ValueError(
            f"`x_seq` (shape {tuple(x_seq.shape)}) of {type(node).__name__} must have `T` "
            f"(={T}) steps."
        )

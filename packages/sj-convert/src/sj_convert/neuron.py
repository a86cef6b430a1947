"""Neurons of a converted network: threshold, initial voltage and output scale in one node."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from sj_convert.start import StartedNode
from sj_core.base import state_dtype


class ScaledIFNode(StartedNode):
    r"""Integrate-and-fire neuron with threshold :math:`\theta` that puts out :math:`\theta S`.

    It computes what ``VoltageScaler(1/theta) -> IFNode(v_threshold=1., v_reset=None) ->
    VoltageScaler(theta)`` does, in one kernel:

    * charge ``H = V + X``, fire ``S = Theta(H - theta)``, reset ``V = H - theta S``
    * output ``theta S`` (``S`` where `scaled` is False); ``V`` starts at ``v_init * theta``, plus
      the buffer `v_shift` (one value per channel) where bias correction has set it

    For a constant input a, T steps and ``v_init=1/2``, the sum of the output over T is
    ``clip(floor(T a / theta + 1/2), 0, T) theta``.

    Shapes: ``(N, C, *)`` ('s') or ``(T, N, C, *)`` ('m') in and out.

    Args:
        v_threshold: theta > 0: a number, or one value per channel ``(C,)``; a buffer.
        v_init: initial voltage as a fraction of theta.
        scaled: whether spikes have the height theta, or 1.

    Example:
        >>> node = ScaledIFNode(torch.tensor([0.5, 2.0]), v_init=0.5, step_mode="m")
        >>> node(torch.full((4, 1, 2), 0.5)).sum(0)
        tensor([[2., 2.]])
    """

    native_name: ClassVar[str | None] = "if"
    most_spikes: ClassVar[int] = 1
    v_threshold: Tensor

    def __init__(
        self,
        v_threshold: float | Tensor = 1.0,
        *,
        v_init: float = 0.0,
        scaled: bool = True,
        step_mode: str = "s",
        backend: str = "auto",
        store_v_seq: bool = False,
    ) -> None:
        super().__init__(
            v_reset=None, step_mode=step_mode, backend=backend, store_v_seq=store_v_seq
        )
        # Not `as_tensor` of a tensor, which moves it to a default device.
        given = v_threshold if isinstance(v_threshold, Tensor) else torch.tensor(v_threshold)
        theta = given.detach().clone()
        theta = theta if theta.is_floating_point() else theta.float()
        if theta.dim() > 1 or theta.numel() == 0 or not bool((theta > 0).all()):
            raise ValueError(
                f"`v_threshold` (={v_threshold}) must be a positive number, or a vector of one per "
                "channel."
            )
        del self.v_threshold
        self.register_buffer("v_threshold", theta)
        self.set_start(v_init)
        self.scaled = bool(scaled)

    def native_threshold(self, x: Tensor, step_shape: torch.Size) -> float | Tensor:
        if len(step_shape) < 2:
            return float(self.v_threshold)
        return self.v_threshold.to(state_dtype(x)).expand(step_shape[1]).contiguous()

    def native_output_scale(self, x: Tensor, step_shape: torch.Size) -> float | Tensor | None:
        return self.native_threshold(x, step_shape) if self.scaled else None

    def neuronal_charge(self, x: Tensor) -> Tensor:
        return self.v + x

    def _step(self, x: Tensor) -> Tensor:
        spike = super()._step(x)
        return spike * self.threshold(x) if self.scaled else spike

    def extra_repr(self) -> str:
        theta = self.v_threshold
        shown = f"{theta.item():g}" if theta.dim() == 0 else f"{len(theta)} channels"
        return (
            f"v_threshold={shown}, v_init={self.v_init}, scaled={self.scaled}, "
            f"step_mode={self.step_mode!r}, backend={self.backend!r}"
        )


class SignedIFNode(ScaledIFNode):
    """`ScaledIFNode` that may take a spike back: -1 when ``H < 0`` while its count is positive.

    ``S = 1`` where ``H >= theta``; ``S = -1`` where ``H < 0`` and more positive than negative
    spikes were given so far; else 0. Spikes that an uneven arrival of the input released too early
    are cancelled, so the count follows the mean of the input. Runs on the torch backend.

    Wang et al., "Signed neuron with memory: towards simple, accurate and high-efficient ANN-SNN
    conversion" (2022).

    Example:
        >>> node = SignedIFNode(1.0, step_mode="m")
        >>> node(torch.tensor([[1.5], [-1.0], [0.2]])).flatten().tolist()
        [1.0, -1.0, 0.0]
    """

    native_name = None

    def __init__(self, v_threshold: float | Tensor = 1.0, **kwargs: Any) -> None:
        super().__init__(v_threshold, **kwargs)
        self.count: Any
        self.register_memory("count", 0.0)

    def neuronal_fire(self) -> Tensor:
        negative = (self.v < 0) & (self.count > 0)
        spike: Tensor = super().neuronal_fire() - negative.to(self.v.dtype)
        self.count = self.count + spike.detach()
        return spike


class BurstIFNode(ScaledIFNode):
    """`ScaledIFNode` that may give up to `most_spikes` spikes in a step.

    ``S = clip(floor(H / theta), 0, most_spikes)``: what was left over at one step leaves at the
    next. Runs on the torch backend.

    Li and Zeng, "Efficient and accurate conversion of spiking neural network with burst spikes"
    (2022).

    Example:
        >>> BurstIFNode(1.0, most_spikes=3)(torch.tensor([0.5, 2.5, 9.0])).tolist()
        [0.0, 2.0, 3.0]
    """

    native_name = None
    most_spikes = 5

    def __init__(
        self, v_threshold: float | Tensor = 1.0, *, most_spikes: int = 5, **kwargs: Any
    ) -> None:
        super().__init__(v_threshold, **kwargs)
        if most_spikes < 1:
            raise ValueError(f"`most_spikes` (={most_spikes}) must be at least 1.")
        self.most_spikes = most_spikes  # type: ignore[misc]

    def neuronal_fire(self) -> Tensor:
        theta = self.threshold(self.v)
        spike: Tensor = self.surrogate_function(self.v - theta)
        for k in range(2, self.most_spikes + 1):
            spike = spike + self.surrogate_function(self.v - k * theta)
        return spike

"""The gated LIF neuron."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from sj_core._checks import as_count, as_float
from sj_core.base import out_of_inference
from sj_core.neuron.base import BaseNode


class GatedLIFNode(BaseNode):
    """Gated LIF neuron: learnable gates between two forms of leak, integration and reset.

    Equation, with the sigma of a parameter written as its short name (`al`, `be`, `ga`: `alpha`,
    `beta`, `gamma`; `tau`; `g_t`: `conduct[t]`; `leak`: `linear_decay`; `v_sub`: `v_subreset`;
    `v_th`: `v_threshold`) and `S'` the spike of the step before:
    `I = X (1 - be (1 - g_t))`;
    `H = (1 - al (1 - tau)) V - (1 - al) leak + I - (1 - al (1 - tau)) V ga S' - (1 - ga) v_sub S'`;
    `S = Theta(H - v_th)`; `V = H`. Each parameter starts so that its sigma is the value given
    (`init_linear_decay=None`: `init_v_threshold/(2 T)`; `init_v_subreset=None`:
    `init_v_threshold`), the gates near 1/2 at random. With `detach_reset` the `S'` has no gradient.

    Shapes: `(T', N, *)` to the same shape and dtype, T' <= T ('m' only). With `inplane=C`,
    parameters are per channel: axis 1 of `(N, C, *)`. The position t goes
    on between calls; after T it is 0 again.

    Errors: ValueError if a starting value is not between 0 and 1, the channels are not `inplane`,
    or a sequence is longer than T.

    Source: Yao et al., "GLIF: a unified gated leaky integrate-and-fire neuron for spiking neural
    networks", 2022.

    Example:
        >>> import torch
        >>> from sj_core.neuron import GatedLIFNode
        >>> GatedLIFNode(T=4, inplane=3)(torch.ones(4, 2, 3)).shape
        torch.Size([4, 2, 3])
    """

    spike: Any
    t: Any

    def __init__(
        self,
        T: int,
        inplane: int | None = None,
        init_linear_decay: float | None = None,
        init_v_subreset: float | None = None,
        init_tau: float = 0.25,
        init_v_threshold: float = 0.5,
        init_conduct: float = 0.5,
        surrogate_function: nn.Module | None = None,
        detach_reset: bool = False,
        step_mode: str = "m",
        backend: str = "auto",
        store_v_seq: bool = False,
    ) -> None:
        T = as_count("T", T)
        inplane = None if inplane is None else as_count("inplane", inplane)
        super().__init__(
            surrogate_function=surrogate_function,
            detach_reset=detach_reset,
            step_mode=step_mode,
            backend=backend,
            store_v_seq=store_v_seq,
        )
        self.T = T
        self.inplane = inplane
        if init_linear_decay is None:
            init_linear_decay = init_v_threshold / (2 * T)
        if init_v_subreset is None:
            init_v_subreset = init_v_threshold
        channels = 1 if inplane is None else inplane
        for gate in ("alpha", "beta", "gamma"):
            setattr(self, gate, nn.Parameter(0.2 * (torch.rand(channels) - 0.5)))
        for name, start, shape in (
            ("tau", init_tau, (channels,)),
            ("v_threshold", init_v_threshold, (channels,)),
            ("linear_decay", init_linear_decay, (channels,)),
            ("v_subreset", init_v_subreset, (channels,)),
            ("conduct", init_conduct, (T, channels)),
        ):
            setattr(self, name, nn.Parameter(torch.full(shape, _logit(f"init_{name}", start))))
        self.register_memory("spike", 0.0)
        self.register_memory("t", 0)

    def supported_step_mode(self) -> tuple[str, ...]:
        return ("m",)

    def _per_channel(self, value: Tensor, x: Tensor) -> Tensor:
        sigma = value.to(x.dtype).sigmoid()
        return sigma if self.inplane is None else sigma.view(-1, *([1] * (x.dim() - 2)))

    def _sigma(self, name: str, x: Tensor) -> Tensor:
        return self._per_channel(getattr(self, name), x)

    def _materialise(self, x: Tensor) -> None:
        if self.inplane is not None and (x.dim() < 2 or x.shape[1] != self.inplane):
            raise ValueError(
                f"`x_seq` (one step of shape {tuple(x.shape)}) must have `inplane` "
                f"(={self.inplane}) channels in axis 1 of (N, C, *)."
            )
        for name in ("v", "spike"):
            setattr(self, name, self.memory_like(name, x))
        # A tensor, so that the position is part of the explicit state of a net.
        self.t = out_of_inference(torch.as_tensor(self.t, device=x.device))

    def multi_step_forward(self, x_seq: Tensor) -> Tensor:
        if x_seq.shape[0] > self.T:
            raise ValueError(
                f"`x_seq` (of {x_seq.shape[0]} steps) must have at most `T` (={self.T}) steps."
            )
        return super().multi_step_forward(x_seq)

    def neuronal_charge(self, x: Tensor) -> Tensor:
        al, be, ga, tau = (self._sigma(name, x) for name in ("alpha", "beta", "gamma", "tau"))
        g = self._per_channel(self.conduct.index_select(0, self.t.view(1)).squeeze(0), x)
        s = self.spike.detach() if self.detach_reset else self.spike
        kept = (1.0 - al * (1.0 - tau)) * self.v
        current = x * (1.0 - be * (1.0 - g))
        h: Tensor = kept - (1.0 - al) * self._sigma("linear_decay", x) + current
        return h - kept * ga * s - (1.0 - ga) * self._sigma("v_subreset", x) * s

    def threshold(self, h: Tensor) -> Tensor:
        return self._sigma("v_threshold", h)

    def neuronal_reset(self, spike: Tensor) -> None:
        """Keep the spike: it resets in the charge of the next step."""
        self.spike = spike
        self.t = (self.t + 1) % self.T

    def extra_repr(self) -> str:
        return (
            f"T={self.T}, inplane={self.inplane}, detach_reset={self.detach_reset}, "
            f"step_mode={self.step_mode!r}, backend={self.backend!r}, "
            f"store_v_seq={self.store_v_seq}"
        )


def _logit(name: str, value: float) -> float:
    value = as_float(name, value)
    if not 0.0 < value < 1.0:
        raise ValueError(f"`{name}` (={value}) must be between 0 and 1.")
    return -math.log(1.0 / value - 1.0)

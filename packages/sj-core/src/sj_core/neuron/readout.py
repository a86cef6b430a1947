"""Readouts: neurons that integrate and do not fire."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sj_core.base import state_dtype
from sj_core.neuron.base import BaseNode
from sj_core.neuron.leaky import FixedTauNode

DECODERS = ("last", "max", "mean", None)


class Readout(BaseNode):
    """Mixin of a neuron that gives its voltage: no spike, no reset.

    Equation: `V = H`; 's' gives `V`; 'm' the last, the greatest or the mean V of the sequence, or,
    with `decode=None`, all of them. An empty sequence leaves the V that is kept.

    Shapes: `(N, *)` to `(N, *)` ('s'); `(T, N, *)` to `(N, *)`, or `(T, N, *)` for None ('m').

    Errors: ValueError for an unknown `decode`.

    Example:
        >>> import torch
        >>> from sj_core.neuron import NonSpikingIFNode
        >>> NonSpikingIFNode(decode="mean", step_mode="m")(torch.ones(3, 1))
        tensor([2.])
    """

    @property
    def decode(self) -> str | None:
        """'last', 'max', 'mean' or None."""
        return self._decode

    @decode.setter
    def decode(self, value: str | None) -> None:
        if value not in DECODERS:
            raise ValueError(f"`decode` (={value!r}) must be 'last', 'max', 'mean' or None.")
        self._decode = value

    def _step(self, x: Tensor) -> Tensor:
        h = self.neuronal_charge(x)
        if h is not None:
            self.v = h
        v: Tensor = self.v
        return v

    # What a caller does to an output in place (`total += readout(x)`) must not reach V: `copy`.

    def single_step_forward(self, x: Tensor) -> Tensor:
        self._materialise(x)
        return self._step(x.to(state_dtype(x))).to(x.dtype, copy=True)

    def multi_step_forward(self, x_seq: Tensor) -> Tensor:
        dtype = state_dtype(x_seq)
        decode = self._decode
        if x_seq.shape[0] == 0:
            if decode is None:
                return torch.empty_like(x_seq)
            v = self.memory_like("v", x_seq.new_empty(x_seq.shape[1:]))
            return v.to(x_seq.dtype, copy=True)
        self._materialise(x_seq[0])
        voltages = []
        for x in x_seq.unbind(0):
            voltages.append(self._step(x.to(dtype)))
            if decode == "last" and not self.store_v_seq:
                voltages.clear()
        if self.store_v_seq:
            self.v_seq = torch.stack(voltages)
        if decode == "last":
            return self.v.to(x_seq.dtype, copy=True)
        out = torch.stack(voltages)
        if decode == "max":
            out = out.max(0).values
        elif decode == "mean":
            out = out.mean(0)
        return out.to(x_seq.dtype)

    def extra_repr(self) -> str:
        return f"decode={self._decode!r}, {super().extra_repr()}"


class NonSpikingIFNode(Readout):
    """Integrator without spikes: a readout.

    Equation: `V[t] = V[t-1] + X[t]`; what 'm' gives of it says `decode` (see `Readout`).

    Shapes: `(N, *)` to `(N, *)` ('s'); `(T, N, *)` to `(N, *)`, or `(T, N, *)` for None ('m').

    Errors: ValueError for an unknown `decode`.

    Example:
        >>> import torch
        >>> from sj_core.neuron import NonSpikingIFNode
        >>> NonSpikingIFNode(step_mode="m")(torch.ones(3, 1))
        tensor([3.])
    """

    def __init__(
        self,
        decode: str | None = "last",
        v_threshold: float = 1.0,
        v_reset: float | None = 0.0,
        surrogate_function: nn.Module | None = None,
        detach_reset: bool = False,
        step_mode: str = "s",
        backend: str = "auto",
        store_v_seq: bool = False,
    ) -> None:
        super().__init__(
            v_threshold, v_reset, surrogate_function, detach_reset, step_mode, backend, store_v_seq
        )
        self.decode = decode

    def neuronal_charge(self, x: Tensor) -> Tensor:
        h: Tensor = self.v + x
        return h


class NonSpikingLIFNode(Readout, FixedTauNode):
    """Leaky integrator without spikes: a readout.

    Equation: `V' = V + (X - (V - v0))/tau` (`decay_input=True`), else `V' = V - (V - v0)/tau + X`;
    what 'm' gives of it says `decode` (see `Readout`). `v0` and the first V are those of `LIFNode`.

    Shapes: `(N, *)` to `(N, *)` ('s'); `(T, N, *)` to `(N, *)`, or `(T, N, *)` for None ('m').

    Errors: ValueError if `tau` is not greater than 1, or for an unknown `decode`.

    Example:
        >>> import torch
        >>> from sj_core.neuron import NonSpikingLIFNode
        >>> NonSpikingLIFNode(tau=2.0, decode=None, step_mode="m")(torch.ones(3, 1)).flatten()
        tensor([0.5000, 0.7500, 0.8750])
    """

    def __init__(
        self,
        tau: float = 2.0,
        decay_input: bool = True,
        decode: str | None = "last",
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
        self.decode = decode

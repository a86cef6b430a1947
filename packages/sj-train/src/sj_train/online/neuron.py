"""LIF neurons that look one step back and no further."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from sj_core.base import SingleModule
from sj_core.neuron import LIFNode


class _OnlineLIFNode(SingleModule, LIFNode):
    """A LIF neuron whose membrane potential of the step before carries no gradient."""

    def single_step_forward(self, x: Tensor) -> Any:
        if isinstance(self.v, Tensor):
            self.v = self.v.detach()
        return super().single_step_forward(x)


class SLTTLIFNode(_OnlineLIFNode):
    r"""
    LIF neuron of SLTT: an ordinary forward, no gradient through time.

    The charge, the firing and the reset are those of `LIFNode`, with :math:`V[t-1]` detached: the
    gradient is the instantaneous one, :math:`dW = \sum_t g_u[t]\, s_{pre}[t]^T`. The gradient of
    the reset only flows through time, so `detach_reset` makes no difference here.

    Args:
        tau: membrane time constant in time steps, greater than 1.
        decay_input: whether the input is divided by `tau`.
        v_threshold: threshold.
        v_reset: potential after a spike, or None for a soft reset.
        surrogate_function: surrogate of the spike, `Sigmoid()` where None.
        detach_reset: as in `LIFNode`.
        step_mode: only `'s'`.
        backend: `'torch'`, `'native'` or `'auto'`.
        store_v_seq: as in `LIFNode`.

    Shapes: `(N, *)` in and out.

    Raises:
        ValueError: `tau` not above 1; `step_mode='m'`.

    Source: Meng et al., Towards Memory- and Time-Efficient Backpropagation for Training Spiking
    Neural Networks (2023).

    Example:
        >>> import torch
        >>> node = SLTTLIFNode()
        >>> [node(torch.tensor([[1.5]])).item() for _ in range(4)]
        [0.0, 1.0, 0.0, 1.0]
    """

    def __init__(
        self,
        tau: float = 2.0,
        decay_input: bool = True,
        v_threshold: float = 1.0,
        v_reset: float | None = 0.0,
        surrogate_function: nn.Module | None = None,
        detach_reset: bool = True,
        step_mode: str = "s",
        backend: str = "auto",
        store_v_seq: bool = False,
    ) -> None:
        super().__init__(
            tau,
            decay_input,
            v_threshold,
            v_reset,
            surrogate_function,
            detach_reset,
            step_mode,
            backend,
            store_v_seq,
        )


class OTTTLIFNode(_OnlineLIFNode):
    r"""
    LIF neuron of OTTT: it hands on its spikes together with their trace.

    The charge, the firing and the reset are those of `LIFNode` with :math:`V[t-1]` detached. In
    training the output is the tuple (spike, trace), with

    .. math:: a[t] = (1 - 1/\tau)\, a[t-1] + s[t]

    without a gradient; in evaluation it is the spike alone. `OTTTSequential` passes the pair to
    the next module with weights.

    Args:
        tau: membrane time constant in time steps, greater than 1; the trace decays with it too.
        decay_input: whether the input is divided by `tau`.
        v_threshold: threshold.
        v_reset: potential after a spike, or None for a soft reset, the paper's choice.
        surrogate_function: surrogate of the spike, `Sigmoid()` where None.
        detach_reset: as in `LIFNode`.
        step_mode: only `'s'`.
        backend: `'torch'`, `'native'` or `'auto'`.
        store_v_seq: as in `LIFNode`.

    Shapes: `(N, *)` in; spike and trace `(N, *)` in the input's dtype.

    Raises:
        ValueError: `tau` not above 1; `step_mode='m'`.

    Source: Xiao et al., Online Training Through Time for Spiking Neural Networks (2022).

    Example:
        >>> import torch
        >>> node = OTTTLIFNode()
        >>> for _ in range(3):
        ...     spike, trace = node(torch.tensor([[1.0]]))
        ...     print(spike.item(), trace.item())
        1.0 1.0
        1.0 1.5
        1.0 1.75
        >>> node.eval()(torch.tensor([[1.0]])).item()
        1.0
    """

    trace: Any

    def __init__(
        self,
        tau: float = 2.0,
        decay_input: bool = False,
        v_threshold: float = 1.0,
        v_reset: float | None = None,
        surrogate_function: nn.Module | None = None,
        detach_reset: bool = True,
        step_mode: str = "s",
        backend: str = "auto",
        store_v_seq: bool = False,
    ) -> None:
        super().__init__(
            tau,
            decay_input,
            v_threshold,
            v_reset,
            surrogate_function,
            detach_reset,
            step_mode,
            backend,
            store_v_seq,
        )
        self.register_memory("trace", 0.0)

    @property
    def trace_decay(self) -> float:
        """Factor by which the trace, like the membrane potential, decays in a step."""
        return 1.0 - 1.0 / self.tau

    def single_step_forward(self, x: Tensor) -> Any:
        spike: Tensor = super().single_step_forward(x)
        if not self.training:
            return spike
        with torch.no_grad():
            self.trace = torch.add(spike, self.memory_like("trace", x), alpha=self.trace_decay)
        return spike, self.trace.to(x.dtype)

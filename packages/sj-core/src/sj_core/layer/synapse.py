"""A synapse that filters spikes into a current."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from sj_core import base
from sj_core._checks import as_flag, as_tau


class SynapseFilter(base.MemoryModule):
    """First-order low-pass filter: spikes in, a current that decays between them out.

    ``y[t] = y[t-1] - (1 - x[t]) y[t-1] / tau + x[t]`` with ``y[-1] = 0``: without a spike the
    current decays by ``1 - 1/tau``, a spike adds 1 and suspends the decay (Diehl and Cook 2015).
    ``tau`` is in time steps. With ``learnable`` it is trained as ``1/tau = sigmoid(w)``, ``w`` of
    shape ``[1]``.

    Shapes: ``[N, *]`` with ``step_mode='s'``, ``[T, N, *]`` with ``'m'``. The current is kept in
    float32 for half-precision inputs and returned in their dtype.

    Raises ``ValueError`` unless ``tau > 1``, ``RuntimeError`` if the shape of a step changes
    before a reset.

    >>> import torch
    >>> from sj_core import layer
    >>> x_seq = torch.tensor([[1.0], [0.0], [0.0]])
    >>> layer.SynapseFilter(tau=2.0, step_mode="m")(x_seq).flatten().tolist()
    [1.0, 0.5, 0.25]
    """

    y: Any
    takes_tensors_only = True

    def __init__(self, tau: float = 100.0, learnable: bool = False, step_mode: str = "s") -> None:
        super().__init__(step_mode)
        self._tau = as_tau("tau", tau)
        self.learnable = as_flag("learnable", learnable)
        if self.learnable:
            self.w = nn.Parameter(torch.tensor([-math.log(self._tau - 1)]))
        self.register_memory("y", 0.0)

    @property
    def tau(self) -> float:
        """The time constant, in time steps; of a learnable filter its present value."""
        return 1 / float(self.w.detach().double().sigmoid()) if self.learnable else self._tau

    def single_step_forward(self, x: Tensor) -> Tensor:
        # A copy: what a later layer does to it in place must not reach the memory.
        return self._filtered(x).to(x.dtype, copy=True)

    def multi_step_forward(self, x_seq: Tensor) -> Tensor:
        if x_seq.shape[0] == 0:
            return super().multi_step_forward(x_seq)
        return torch.stack([self._filtered(x).to(x.dtype) for x in x_seq.unbind(0)])

    def _filtered(self, x: Tensor) -> Tensor:
        y = self.memory_like("y", x)
        current = x.to(y.dtype)
        rate = self.w.to(y.dtype).sigmoid() if self.learnable else 1 / self._tau
        self.y = y = y - (1 - current) * y * rate + current
        return y

    def extra_repr(self) -> str:
        return f"tau={self.tau:g}, learnable={self.learnable}, step_mode={self.step_mode!r}"

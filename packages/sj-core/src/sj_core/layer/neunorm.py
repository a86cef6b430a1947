"""Normalisation by an auxiliary neuron that watches all channels."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from sj_core import base
from sj_core._checks import as_count, as_float


class NeuNorm(base.MemoryModule):
    """Neuron normalisation: subtracts what an auxiliary neuron has seen of all channels.

    ``u[t] = k u[t-1] + (v / F) sum_f x[t, f]`` with ``u[-1] = 0`` at each pixel, ``F`` the number
    of channels and ``v`` such that ``k + v F = 1``, and ``y[t] = x[t] - w u[t]`` with ``w``
    learnable (Wu et al. 2019). It stands behind the neuron of a convolution:
    ``Conv2d -> LIFNode -> NeuNorm``.

    Shapes: ``[N, C, H, W]`` with ``step_mode='s'``, ``[T, N, C, H, W]`` with ``'m'``; ``w`` is
    ``[C, H, W]``, or ``[1, H, W]`` with ``shared_across_channels``. ``u`` is kept in float32 for
    half-precision inputs.

    Raises ``ValueError`` unless ``0 <= k < 1`` and for another shape, ``RuntimeError`` if the batch
    size changes before a reset.

    >>> import torch
    >>> from sj_core import layer
    >>> norm = layer.NeuNorm(in_channels=2, height=1, width=1, k=0.5)
    >>> _ = torch.nn.init.ones_(norm.w)
    >>> norm(torch.ones(1, 2, 1, 1)).flatten().tolist()  # v / F = 0.5 / 4, two channels
    [0.75, 0.75]
    """

    u: Any
    takes_tensors_only = True

    def __init__(
        self,
        in_channels: int,
        height: int,
        width: int,
        k: float = 0.9,
        shared_across_channels: bool = False,
        step_mode: str = "s",
    ) -> None:
        super().__init__(step_mode)
        sizes = (("in_channels", in_channels), ("height", height), ("width", width))
        in_channels, height, width = (as_count(name, size) for name, size in sizes)
        self.k = as_float("k", k)
        if not 0 <= self.k < 1:
            raise ValueError(f"`k` (={k}) must be in [0, 1).")
        self.in_channels = in_channels
        self.v_over_f = (1.0 - self.k) / in_channels**2
        channels = 1 if shared_across_channels else in_channels
        self.w = nn.Parameter(torch.empty(channels, height, width))
        nn.init.kaiming_uniform_(self.w, a=math.sqrt(5))
        self.register_memory("u", 0.0)

    def single_step_forward(self, x: Tensor) -> Tensor:
        expected = (self.in_channels, *self.w.shape[1:])
        if x.dim() != 4 or x.shape[1:] != expected:
            raise ValueError(
                f"`x` of one step has shape {list(x.shape)} but NeuNorm takes "
                f"[N, {', '.join(map(str, expected))}]."
            )
        watched = x[:, :1]
        if isinstance(self.u, Tensor):
            self.check_memory("u", self.u, watched.shape, x.device, x.shape)
        u = self.memory_like("u", watched)
        spikes = x.to(u.dtype)
        self.u = self.k * u + self.v_over_f * spikes.sum(1, keepdim=True)
        return (spikes - self.w.to(u.dtype) * self.u).to(x.dtype)

    def extra_repr(self) -> str:
        return f"w={list(self.w.shape)}, k={self.k}, step_mode={self.step_mode!r}"

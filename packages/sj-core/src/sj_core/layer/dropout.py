"""Dropout whose mask stays the same over a sequence."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from sj_core import base
from sj_core._checks import as_fraction


class Dropout(base.MemoryModule):
    """Dropout with one mask per sequence: the same elements are dropped at every time step.

    ``y[t] = x[t] * m / (1 - p)`` with ``m ~ Bernoulli(1 - p)`` drawn at the first step in training
    and kept until ``reset``. A new mask at each step would, over many steps, drop nothing: every
    synapse would only be scaled by ``1 - p`` (Lee et al. 2020). Identity in eval mode.

    Shapes: ``[N, *]`` with ``step_mode='s'``, ``[T, N, *]`` with ``'m'``.

    Raises ``ValueError`` unless ``0 <= p <= 1``, ``RuntimeError`` if the shape of a step changes
    before a reset.

    >>> import torch
    >>> from sj_core import layer
    >>> y = layer.Dropout(0.5, step_mode="m")(torch.ones(4, 2, 8))
    >>> torch.equal(y[0], y[3])
    True
    """

    mask: Any
    takes_tensors_only = True
    guards_recompute = False  # a mask stays what it was

    def __init__(self, p: float = 0.5, step_mode: str = "s") -> None:
        super().__init__(step_mode)
        self.p = as_fraction("p", p)
        self.register_memory("mask", None)

    def mask_shape(self, x: Tensor) -> torch.Size:
        """Shape of the mask of one step like ``x``."""
        return x.shape

    def create_mask(self, x: Tensor) -> Tensor:
        """A fresh mask for one step like ``x``, already divided by ``1 - p``."""
        ones = torch.ones(self.mask_shape(x), dtype=x.dtype, device=x.device)
        return F.dropout(ones, self.p, training=True)

    def _mask_for(self, x: Tensor) -> Tensor:
        if self.mask is None:
            self.mask = self.create_mask(x)
        mask: Tensor = self.mask
        self.check_memory("mask", mask, self.mask_shape(x), x.device, x.shape)
        return base.out_of_inference(mask) if mask.dtype == x.dtype else mask.to(x.dtype)

    def single_step_forward(self, x: Tensor) -> Tensor:
        return x * self._mask_for(x) if self.training else x

    def multi_step_forward(self, x_seq: Tensor) -> Tensor:
        if not self.training or x_seq.shape[0] == 0:
            return x_seq
        return x_seq * self._mask_for(x_seq[0])

    def extra_repr(self) -> str:
        return f"p={self.p}, step_mode={self.step_mode!r}"


class Dropout2d(Dropout):
    """Channel-wise :class:`Dropout`: whole channels are dropped, the same at every time step.

    ``y[t, n, c] = x[t, n, c] * m[n, c] / (1 - p)`` with ``m ~ Bernoulli(1 - p)`` drawn at the first
    step in training and kept until ``reset`` (Tompson et al. 2015, for one mask per image).
    Identity in eval mode.

    Shapes: ``[N, C, H, W]`` with ``step_mode='s'``, ``[T, N, C, H, W]`` with ``'m'``.

    Raises ``ValueError`` unless ``0 <= p <= 1`` and for another rank, ``RuntimeError`` if the shape
    of a step changes before a reset.

    >>> import torch
    >>> from sj_core import layer
    >>> y = layer.Dropout2d(0.5, step_mode="m")(torch.ones(4, 2, 8, 3, 3))
    >>> set(y[2].sum((-1, -2)).flatten().tolist()) <= {0.0, 18.0}
    True
    """

    def __init__(self, p: float = 0.2, step_mode: str = "s") -> None:
        super().__init__(p, step_mode)

    def mask_shape(self, x: Tensor) -> torch.Size:
        if x.dim() != 4:
            raise ValueError(
                f"`x` of one step has shape {list(x.shape)} but Dropout2d takes [N, C, H, W]."
            )
        return torch.Size((*x.shape[:2], 1, 1))

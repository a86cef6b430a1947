"""What the encoders accept for an input."""

from __future__ import annotations

import torch
from torch import Tensor

from sj_core.backend import transformed


def floating(x: Tensor) -> Tensor:
    if not isinstance(x, Tensor):
        raise TypeError(f"`x` ({type(x).__name__}) must be a tensor.")
    if not x.is_floating_point():
        raise TypeError(f"`x` (dtype {x.dtype}) must be of a floating dtype; call `x.float()`.")
    return x


def with_time(x_seq: Tensor) -> Tensor:
    if x_seq.dim() == 0:
        raise ValueError("`x` (shape ()) must be of shape (T, N, *) in step mode 'm'.")
    return x_seq


def in_unit_interval(x: Tensor, high: float, high_text: str = "1") -> None:
    floating(x)
    if x.is_meta or torch.compiler.is_compiling() or transformed():
        return  # there is no value to look at
    if x.numel() and not bool(((x >= 0) & (x.double() <= high)).all()):
        low, top = x.min().item(), x.max().item()
        raise ValueError(
            f"`x` (from {low:g} to {top:g}) must be between 0 and {high_text}; scale it first."
        )

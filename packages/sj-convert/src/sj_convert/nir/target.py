"""What a NIR graph is written for, and what nodes of every kind are made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn

from sj_convert.nir.extra import as_array
from sj_convert.trace import source_line
from sj_core import functional

SOFT_RESETS = ("error", "metadata", "subgraph")


@dataclass(frozen=True)
class Target:
    """The package `nir`, the time step in seconds, and the form of a soft reset."""

    nir: Any
    dt: float
    soft_reset: str

    def refuse_soft(self, at: fx.Node, module: nn.Module) -> None:
        """`ValueError` for the neuron `module` with a soft reset, unless a form is chosen."""
        if self.soft_reset == "error":
            raise ValueError(
                f"`net` has `{at.target}` ({type(module).__name__}) at {source_line(at)} with a "
                "soft reset, which NIR does not know; pass `soft_reset='metadata'` or 'subgraph'."
            )


def shape_of(node: Any) -> tuple[int, ...]:
    """Shape of one sample of a value of the graph."""
    return tuple(node.meta["tensor_meta"].shape[1:])


def through(module: nn.Module, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Shape of what `module` makes of one sample of `shape`."""
    like = next((p for p in module.parameters() if p.is_floating_point()), torch.empty(0))
    with torch.no_grad():
        y: Tensor = module(like.new_zeros(1, *shape))
    functional.reset_net(module)
    return tuple(y.shape[1:])


def full(shape: tuple[int, ...], value: Any) -> np.ndarray:
    """`value`, a number, a vector per channel or an array per neuron, for each neuron."""
    if isinstance(value, Tensor):
        array = as_array(value)
        if array.ndim == 1 and len(shape) > 1:
            array = array.reshape(-1, *[1] * (len(shape) - 1))
        value = array
    return np.broadcast_to(np.asarray(value, dtype=np.float64), shape).copy()

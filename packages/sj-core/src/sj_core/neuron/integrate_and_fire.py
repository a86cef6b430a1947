"""The integrate-and-fire neuron."""

from __future__ import annotations

from torch import Tensor

from sj_core.neuron.base import BaseNode


class IFNode(BaseNode):
    """Integrate-and-fire neuron: a perfect integrator.

    ``H[t] = V[t-1] + X[t]``, then fire and reset as in :class:`BaseNode`.

    >>> import torch
    >>> from sj_core.neuron import IFNode
    >>> IFNode(step_mode="m")(torch.full((4, 1), 0.5)).flatten().tolist()
    [0.0, 1.0, 0.0, 1.0]
    """

    native_name = "if"

    def neuronal_charge(self, x: Tensor) -> Tensor:
        return self.v + x

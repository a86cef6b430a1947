"""A surrogate as data: what a whole sequence needs to know of a cell's spike functions."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from sj_core import surrogate
from sj_core.surrogate import SurrogateFunctionBase, heaviside


class Gate:
    """Value and derivative of a surrogate as it is set now.

    ``value(x)`` is Theta(x), or the primitive where ``spiking`` is False; ``derivative(x)`` is
    g'(x). ``name`` is None for a class that ``sj_core.surrogate`` does not hold.
    """

    def __init__(self, function: SurrogateFunctionBase) -> None:
        self.function = function
        self.params = function.params()
        self.spiking = function.spiking
        name = type(function).__name__
        self.name = name if getattr(surrogate, name, None) is type(function) else None

    @classmethod
    def of(cls, function: Any) -> Gate | None:
        """The gate of ``function``, or None if it is no plain surrogate or something watches it."""
        if not isinstance(function, SurrogateFunctionBase):
            return None
        if type(function).forward is not SurrogateFunctionBase.forward or hooked(function):
            return None
        return cls(function)

    @classmethod
    def named(cls, name: str, params: list[float], spiking: bool) -> Gate:
        """The gate of a surrogate of ``sj_core`` from its name, parameters and mode."""
        return cls(getattr(surrogate, name)(*params, spiking=spiking))

    def value(self, x: Tensor) -> Tensor:
        return heaviside(x) if self.spiking else self.function.primitive(x, *self.params)

    def derivative(self, x: Tensor) -> Tensor:
        return self.function.derivative(x, *self.params)

    def same(self, other: Gate) -> bool:
        """Whether both have the same value and derivative everywhere."""
        return self is other or (
            type(self.function) is type(other.function)
            and self.params == other.params
            and self.spiking == other.spiking
        )


_HOOKS = (
    "_forward_hooks",
    "_forward_pre_hooks",
    "_backward_hooks",
    "_backward_pre_hooks",
)


def hooked(module: nn.Module) -> bool:
    """Whether a hook on ``module`` itself wants to see its calls."""
    return any(getattr(module, name) for name in _HOOKS)


def globally_hooked() -> bool:
    """Whether a hook on all modules wants to see every call."""
    module = torch.nn.modules.module
    return any(
        getattr(module, name, None)
        for name in (
            "_global_forward_hooks",
            "_global_forward_pre_hooks",
            "_global_backward_hooks",
            "_global_backward_pre_hooks",
        )
    )

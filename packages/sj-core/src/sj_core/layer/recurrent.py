"""Containers that feed the last output back into the input."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from sj_core import base
from sj_core._checks import as_count, check_module
from sj_core.layer.container import SingleStepChildren
from sj_core.layer.loop import empty_output


class RecurrentContainer(SingleStepChildren, base.MemoryModule):
    """What the containers share: the memory ``y`` of the last output and the loop over time."""

    y: Any

    def __init__(self, sub_module: nn.Module, step_mode: str = "s") -> None:
        super().__init__(step_mode)
        check_module("sub_module", sub_module)
        self.sub_module = sub_module
        self._refuse_misfits()
        self.register_memory("y", None)

    def feed_back(self, x: Tensor) -> Tensor:
        """One step; keeps the output in `y`."""
        raise NotImplementedError(f"{type(self).__name__} must define `feed_back(x)`.")

    def single_step_forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        self._refuse_changed_children()
        # A copy: what a later layer does to it in place must not be fed back.
        return self.feed_back(x).clone()

    def multi_step_forward(self, x_seq: Tensor, *args: Any, **kwargs: Any) -> Any:
        self._refuse_changed_children()
        if x_seq.shape[0] == 0:
            return empty_output(self, self.feed_back, x_seq)
        return torch.stack([self.feed_back(x) for x in x_seq.unbind(0)])

    def _refuse_misfit(self, x: Tensor, y: Tensor, axes: slice) -> None:
        if y.shape[axes] != x.shape[axes]:
            raise RuntimeError(
                f"`x` of one step has shape {tuple(x.shape)}, but the last output `y` that "
                f"{type(self).__name__} keeps from earlier steps has shape {tuple(y.shape)}: "
                "call `functional.reset_net(net)` between sequences."
            )


class ElementWiseRecurrentContainer(RecurrentContainer):
    """Feeds the last output back by an element-wise function.

    ``y[t] = sub_module(f(y[t-1], x[t]))`` with ``y[-1] = 0`` of ``x``'s shape.

    Shapes: ``[N, *]`` with ``step_mode='s'``, ``[T, N, *]`` with ``'m'``; those of ``sub_module``.
    Its step mode is and stays ``'s'``.

    Raises ``ValueError`` for a ``sub_module`` with ``step_mode='m'``, ``TypeError`` if
    ``element_wise_function`` is not callable, ``RuntimeError`` if the batch size changes before a
    reset.

    >>> import torch
    >>> from sj_core import layer
    >>> net = layer.ElementWiseRecurrentContainer(torch.nn.Identity(), torch.add, step_mode="m")
    >>> net(torch.ones(3, 1)).flatten().tolist()
    [1.0, 2.0, 3.0]
    """

    def __init__(
        self,
        sub_module: nn.Module,
        element_wise_function: Callable[[Tensor, Tensor], Tensor],
        step_mode: str = "s",
    ) -> None:
        super().__init__(sub_module, step_mode)
        if not callable(element_wise_function):
            raise TypeError(
                f"`element_wise_function` (={element_wise_function!r}) must be callable as "
                "`f(y, x)`."
            )
        self.element_wise_function = element_wise_function

    def feed_back(self, x: Tensor) -> Tensor:
        y: Tensor = torch.zeros_like(x) if self.y is None else base.out_of_inference(self.y)
        self._refuse_misfit(x, y, slice(1))
        self.y = self.sub_module(self.element_wise_function(y, x))
        return self.y

    def extra_repr(self) -> str:
        function = self.element_wise_function
        name = getattr(function, "__name__", type(function).__name__)
        return f"element_wise_function={name}, step_mode={self.step_mode!r}"


class LinearRecurrentContainer(RecurrentContainer):
    """Feeds the last output back by a linear layer.

    ``y[t] = sub_module(W [x[t], y[t-1]] + b)`` with ``y[-1] = 0``. ``in_features`` is the size of
    ``x``'s last axis and of what ``sub_module`` takes, ``out_features`` of what it gives; ``W`` is
    ``[in_features, in_features + out_features]``.

    Shapes: ``[N, *, in_features]`` to ``[N, *, out_features]`` with ``step_mode='s'``, the same
    behind a ``T`` with ``'m'``. The step mode of ``sub_module`` is and stays ``'s'``.

    Raises ``ValueError`` for a ``sub_module`` with ``step_mode='m'`` and where the features differ
    from ``in_features`` or ``out_features``, ``RuntimeError`` if the shape of a step changes before
    a reset.

    >>> import torch
    >>> from sj_core import layer, neuron
    >>> sub = torch.nn.Sequential(torch.nn.Linear(4, 3), neuron.LIFNode())
    >>> net = layer.LinearRecurrentContainer(sub, in_features=4, out_features=3, step_mode="m")
    >>> net(torch.zeros(5, 2, 4)).shape
    torch.Size([5, 2, 3])
    """

    def __init__(
        self,
        sub_module: nn.Module,
        in_features: int,
        out_features: int,
        bias: bool = True,
        step_mode: str = "s",
    ) -> None:
        super().__init__(sub_module, step_mode)
        in_features = as_count("in_features", in_features)
        self.out_features = out_features = as_count("out_features", out_features)
        self.rc = nn.Linear(in_features + out_features, in_features, bias)

    def feed_back(self, x: Tensor) -> Tensor:
        expected = self.rc.out_features
        if x.shape[-1:] != (expected,):
            raise ValueError(
                f"`x` of one step has shape {list(x.shape)} but LinearRecurrentContainer takes "
                f"[N, *, {expected}]."
            )
        y = x.new_zeros((*x.shape[:-1], self.out_features)) if self.y is None else self.y
        self._refuse_misfit(x, y, slice(-1))
        y = self.sub_module(self.rc(torch.cat((x, y), -1)))
        if y.shape[-1:] != (self.out_features,):
            raise ValueError(
                f"`out_features` (={self.out_features}) must be the size of what `sub_module` "
                f"gives, which has shape {list(y.shape)}."
            )
        self.y = y
        return y

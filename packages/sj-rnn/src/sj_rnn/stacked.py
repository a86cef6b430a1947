"""Stacked, optionally bidirectional networks of one kind of cell."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sj_rnn.cell import SpikingRNNCellBase
from sj_rnn.check import (
    autocast_dtype,
    cast,
    check_input,
    check_states,
    check_weights,
    flag,
    lengths_mask,
    positive_int,
    probability,
)
from sj_rnn.directions import run_layer


class SpikingRNNBase(nn.Module):
    """Base of the stacked networks; a subclass gives ``base_cell()`` and ``states_num()``.

    Layer l at time t reads layer l-1 at the same t. Dropout follows every layer but the last, in
    training; ``invariant_dropout_mask`` draws one mask for all t, anew for each forward. Further
    arguments reach every cell; modules among them are copied, so that no two cells share one.

    ``forward(x[T, N, input], states=None, lengths=None) -> (output[T, N, D*H], states)``, D = 2 if
    bidirectional; ``batch_first`` swaps T and N of x and output. ``states`` is one tensor, or a
    tuple of ``states_num()``, each ``[num_layers*D, N, H]``: layer l forward at index l, its
    reverse at l + num_layers; zeros by default. ``lengths[n]`` ends sequence n: past it the states
    are frozen and the output is zero, and the reverse direction starts there.

    Raises ``ValueError`` for a wrong shape, count or length, ``TypeError`` for a wrong dtype.
    """

    torch_module: ClassVar[type[nn.RNNBase] | None] = None

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int,
        bias: bool = True,
        dropout_p: float = 0,
        invariant_dropout_mask: bool = False,
        bidirectional: bool = False,
        *args: Any,
        batch_first: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__()
        positive_int("input_size", input_size)
        positive_int("hidden_size", hidden_size)
        positive_int("num_layers", num_layers)
        if "proj_size" in kwargs:
            raise TypeError("`proj_size` is not offered by the spiking networks: leave it out.")
        if "dropout" in kwargs:
            raise TypeError("`dropout` is called `dropout_p` by the spiking networks.")
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.bias = flag("bias", bias)
        self.dropout_p = probability("dropout_p", dropout_p)
        self.invariant_dropout_mask = flag("invariant_dropout_mask", invariant_dropout_mask)
        self.bidirectional = flag("bidirectional", bidirectional)
        self.batch_first = flag("batch_first", batch_first)
        if self.bidirectional:
            self.cells, self.cells_reverse = self.create_cells(*args, **kwargs)
        else:
            self.cells = self.create_cells(*args, **kwargs)

    @staticmethod
    def base_cell() -> type[SpikingRNNCellBase]:
        """The class of the cells."""
        raise NotImplementedError("A subclass of `SpikingRNNBase` must define `base_cell()`.")

    @staticmethod
    def states_num() -> int:
        """The number of state tensors of a cell."""
        return 1

    def create_cells(self, *args: Any, **kwargs: Any) -> Any:
        """The cells of all layers: one ``nn.Sequential``, or a forward and a reverse one."""
        cell = self.base_cell()
        directions = 2 if self.bidirectional else 1

        def stack() -> nn.Sequential:
            sizes = [self.input_size] + [self.hidden_size * directions] * (self.num_layers - 1)
            own = [[_fresh(a) for a in args] for _ in sizes]
            named = [{k: _fresh(v) for k, v in kwargs.items()} for _ in sizes]
            return nn.Sequential(
                *(
                    cell(size, self.hidden_size, self.bias, *a, **k)
                    for size, a, k in zip(sizes, own, named, strict=True)
                )
            )

        return (stack(), stack()) if self.bidirectional else stack()

    @classmethod
    def from_torch(cls, module: nn.Module, **kwargs: Any) -> Self:
        """A network with the sizes, settings and (copied) weights of torch's own.

        ``kwargs`` go to the constructor and win over the settings of ``module``. Raises
        ``TypeError`` for another kind of module, ``ValueError`` for one with ``proj_size``.
        """
        if cls.torch_module is None or not isinstance(module, cls.torch_module):
            wanted = cls.torch_module.__name__ if cls.torch_module else "nothing"
            raise TypeError(
                f"`module` is a {type(module).__name__}, but {cls.__name__} takes {wanted}."
            )
        if module.proj_size:
            raise ValueError(
                f"`module` has proj_size={module.proj_size}, and projections are not offered."
            )
        first: Any = module.weight_ih_l0
        settings: dict[str, Any] = {
            "bias": module.bias,
            "dropout_p": module.dropout,
            "bidirectional": module.bidirectional,
            "batch_first": module.batch_first,
            "device": first.device,
            "dtype": first.dtype,
        }
        net = cls(module.input_size, module.hidden_size, module.num_layers, **settings | kwargs)
        for suffix, cells in (("", net.cells), ("_reverse", getattr(net, "cells_reverse", ()))):
            for layer, cell in enumerate(cells):
                names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
                values = [getattr(module, f"{name}_l{layer}{suffix}", None) for name in names]
                cell.copy_from(*values)
        return net.train(module.training)

    def forward(
        self, x: Tensor, states: Tensor | Sequence[Tensor] | None = None, lengths: Any = None
    ) -> tuple[Tensor, Any]:
        shape = "[N, T, input_size]" if self.batch_first else "[T, N, input_size]"
        check_input(x, shape, self.input_size)
        if self.batch_first:
            x = x.transpose(0, 1)
        dtype = autocast_dtype(x)
        y = x if dtype is None else x.to(dtype)
        check_weights(y, self.cells[0])
        first = self._first_states(y, states, dtype)
        mask = lengths_mask(lengths, y)
        if mask is not None:
            # Whatever stands in the padding, NaN too, must not reach a weight's gradient.
            y = y.masked_fill(~mask, 0)
        y, last = self._run(y, first, mask)
        if self.batch_first:
            y = y.transpose(0, 1)
        return y, last if self.states_num() > 1 else last[0]

    def _run(
        self, y: Tensor, first: list[Tensor], mask: Tensor | None
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        stacks = (self.cells, self.cells_reverse) if self.bidirectional else (self.cells,)
        if y.shape[0] == 0:
            empty = y.new_zeros(0, y.shape[1], self.hidden_size * len(stacks))
            return empty, tuple(state.clone() for state in first)
        by_row = list(zip(*(state.unbind(0) for state in first), strict=True))
        for layer in range(self.num_layers):
            cells = [stack[layer] for stack in stacks]
            rows = range(layer, len(by_row), self.num_layers)
            y, ends = run_layer(cells, y, [by_row[row] for row in rows], mask)
            for row, end in zip(rows, ends, strict=True):
                by_row[row] = end
            if layer + 1 < self.num_layers:
                y = self._dropout(y)
        return y, tuple(torch.stack(column) for column in zip(*by_row, strict=True))

    def _dropout(self, y: Tensor) -> Tensor:
        if not self.training or self.dropout_p == 0:
            return y
        if not self.invariant_dropout_mask:
            return F.dropout(y, self.dropout_p, True)
        return y * F.dropout(y.new_ones(y.shape[1:]), self.dropout_p, True)

    def _first_states(self, x: Tensor, states: Any, dtype: Any) -> list[Tensor]:
        directions = 2 if self.bidirectional else 1
        shape = (self.num_layers * directions, x.shape[1], self.hidden_size)
        if states is None:
            return [x.new_zeros(shape) for _ in range(self.states_num())]
        # A tuple of types: dynamo of torch 2.6 knows no unions.
        if not isinstance(states, (Tensor, list, tuple)):
            raise TypeError(
                f"`states` must be a tensor or a tuple of {self.states_num()}, got "
                f"{type(states).__name__}."
            )
        given = [states] if isinstance(states, Tensor) else list(states)
        cast_states = [cast(state, dtype) for state in given]
        check_states(cast_states, "states", self.states_num(), shape, x)  # type: ignore[arg-type]
        return cast_states  # type: ignore[return-value]

    def extra_repr(self) -> str:
        names = (
            "num_layers",
            "bias",
            "dropout_p",
            "invariant_dropout_mask",
            "bidirectional",
            "batch_first",
        )
        shown = ", ".join(f"{name}={getattr(self, name)}" for name in names)
        return f"{self.input_size}, {self.hidden_size}, {shown}"


def _fresh(value: Any) -> Any:
    return copy.deepcopy(value) if isinstance(value, nn.Module) else value

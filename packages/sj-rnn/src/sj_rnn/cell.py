"""The base of the cells: their parameters, checks and spike functions."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from sj_core import surrogate
from sj_rnn.check import (
    autocast_dtype,
    cast,
    check_input,
    check_states,
    check_weights,
    flag,
    positive_int,
    state_tuple,
)

Spike = Callable[[Tensor], Tensor]


class SpikingRNNCellBase(nn.Module):
    """Base of the cells: two linear maps, of the input and of the hidden state.

    ``linear_ih`` holds a weight ``[g*H, input]`` and ``linear_hh`` one of ``[g*H, H]`` for the
    ``gates`` g of the cell, with a bias each; all drawn from U(-sqrt(k), sqrt(k)), k = 1/H.
    A subclass sets ``gates`` and ``states`` and writes ``forward(x[N, input], states)``, which
    returns the new state, or a tuple of them with the hidden state first.

    Raises ``ValueError`` for sizes below 1.
    """

    gates: ClassVar[int] = 1
    states: ClassVar[int] = 1
    # What `forward` is to a whole sequence; a subclass with a forward of its own has none.
    sequence_kind: ClassVar[str | None] = None
    torch_cell: ClassVar[type[nn.Module] | None] = None

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        *,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        positive_int("input_size", input_size)
        positive_int("hidden_size", hidden_size)
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.bias = flag("bias", bias)
        rows = self.gates * hidden_size
        self.linear_ih = nn.Linear(input_size, rows, self.bias, device=device, dtype=dtype)
        self.linear_hh = nn.Linear(hidden_size, rows, self.bias, device=device, dtype=dtype)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw every weight and bias from U(-sqrt(k), sqrt(k)), k = 1/hidden_size."""
        bound = math.sqrt(1 / self.hidden_size)
        for linear in (self.linear_ih, self.linear_hh):
            for parameter in linear.parameters():
                nn.init.uniform_(parameter, -bound, bound)

    def weight_ih(self) -> Tensor:
        """The weight of the input, ``[g*H, input]``."""
        return self.linear_ih.weight

    def weight_hh(self) -> Tensor:
        """The weight of the hidden state, ``[g*H, H]``."""
        return self.linear_hh.weight

    def bias_ih(self) -> Tensor | None:
        """The bias of the input's map, ``[g*H]``, or None."""
        return self.linear_ih.bias

    def bias_hh(self) -> Tensor | None:
        """The bias of the hidden state's map, ``[g*H]``, or None."""
        return self.linear_hh.bias

    @classmethod
    def from_torch(cls, cell: nn.Module, **kwargs: Any) -> Self:
        """A cell with the weights of torch's own (copied); ``kwargs`` go to the constructor.

        Raises ``TypeError`` for another module than torch's cell of this kind.
        """
        if cls.torch_cell is None or not isinstance(cell, cls.torch_cell):
            wanted = cls.torch_cell.__name__ if cls.torch_cell else "nothing: it has no counterpart"
            raise TypeError(
                f"`cell` is a {type(cell).__name__}, but {cls.__name__} takes {wanted}."
            )
        source: Any = cell
        weight = source.weight_ih
        kwargs = {"device": weight.device, "dtype": weight.dtype} | kwargs
        new = cls(source.input_size, source.hidden_size, source.bias, **kwargs)
        new.copy_from(source.weight_ih, source.weight_hh, source.bias_ih, source.bias_hh)
        return new.train(cell.training)

    def copy_from(
        self, weight_ih: Tensor, weight_hh: Tensor, bias_ih: Tensor | None, bias_hh: Tensor | None
    ) -> None:
        """Copy weights, and biases where the cell has them, in torch's layout."""
        with torch.no_grad():
            self.weight_ih().copy_(weight_ih)
            self.weight_hh().copy_(weight_hh)
            for own, other in ((self.bias_ih(), bias_ih), (self.bias_hh(), bias_hh)):
                if own is not None and other is not None:
                    own.copy_(other)

    def extra_repr(self) -> str:
        return f"{self.input_size}, {self.hidden_size}, bias={self.bias}"

    def prepare(
        self, x: Tensor, states: Sequence[Tensor] | Tensor | None, name: str
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Checked ``x`` and states, zeros of x's dtype and device by default, after autocast."""
        check_input(x, "[N, input_size]", self.input_size)
        dtype = autocast_dtype(x)
        x = x if dtype is None else x.to(dtype)
        check_weights(x, self)
        shape = (x.shape[0], self.hidden_size)
        if states is None:
            return x, tuple(x.new_zeros(shape) for _ in range(self.states))
        given = tuple(cast(state, dtype) for state in state_tuple(name, states, self.states))
        check_states(given, name, self.states, shape, x)  # type: ignore[arg-type]
        return x, given  # type: ignore[return-value]


def spike_function(name: str, function: Any) -> Any:
    """``function``, or a fresh ``Erf()`` for None; ``TypeError`` if it cannot be called."""
    if function is None:
        return surrogate.Erf()
    if not callable(function) or isinstance(function, type):
        raise TypeError(
            f"`{name}` (={function!r}) must be a surrogate function and no class, "
            "for example `sj_core.surrogate.Erf()`."
        )
    return function


class TwoSpikeCell(SpikingRNNCellBase):
    """A cell whose gates fire by S1 and whose candidate fires by S2."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        surrogate_function1: Spike | None = None,
        surrogate_function2: Spike | None = None,
        *,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, device=device, dtype=dtype)
        self.surrogate_function1 = spike_function("surrogate_function1", surrogate_function1)
        if surrogate_function2 is not None:
            surrogate_function2 = spike_function("surrogate_function2", surrogate_function2)
        self.surrogate_function2 = surrogate_function2

    def spike_functions(self) -> tuple[Spike, Spike]:
        """(S1, S2); they are one object where ``surrogate_function2`` is None."""
        s1 = self.surrogate_function1
        return s1, s1 if self.surrogate_function2 is None else self.surrogate_function2

"""One layer in one or both directions, and the function that runs two cells over a sequence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from sj_rnn.check import (
    autocast_dtype,
    cast,
    check_input,
    check_states,
    check_weights,
    state_tuple,
)
from sj_rnn.ops import run_sequence
from sj_rnn.plan import plan_of, weights_of
from sj_rnn.recurrence import Plan, by_direction
from sj_rnn.unroll import unroll

States = tuple[Tensor, ...]


def run_layer(
    cells: Sequence[Any], x: Tensor, states: Sequence[States], mask: Tensor | None
) -> tuple[Tensor, list[States]]:
    """Output ``[T, N, D*H]`` and last states of one cell, or of a forward and a reverse one."""
    plans = [plan_of(cell, x, reverse=d == 1) for d, cell in enumerate(cells)]
    if len(cells) == 2 and run_at_once(plans, cells, x):
        return _both(cells, plans, x, states, mask)
    results = [
        unroll(cell, x, own, mask, direction == 1)
        if plan is None
        else _one(cell, plan, x, own, mask)
        for direction, (cell, plan, own) in enumerate(zip(cells, plans, states, strict=True))
    ]
    outputs = [output for output, _ in results]
    y = outputs[0] if len(outputs) == 1 else torch.cat(outputs, -1)
    return y, [last for _, last in results]


def run_at_once(plans: Sequence[Plan | None], cells: Sequence[Any], x: Tensor) -> bool:
    """Whether both directions run as one batched product: where launches cost more than work."""
    if x.device.type == "cpu":
        return False
    return mergeable(plans, cells)


def mergeable(plans: Sequence[Plan | None], cells: Sequence[Any]) -> bool:
    """Whether two plans differ in nothing but their direction and weights."""
    first, second = plans
    if first is None or second is None:
        return False
    return (
        first.kind == second.kind
        and first.s1.same(second.s1)
        and first.s2.same(second.s2)
        and first.clamp_cell == second.clamp_cell
        and [w.shape for w in weights_of(cells[0], None)]
        == [w.shape for w in weights_of(cells[1], None)]
    )


def _one(cell: Any, plan: Plan, x: Tensor, states: States, mask: Tensor | None) -> Any:
    h, c = states[0], states[1] if len(states) > 1 else None
    own = None if mask is None else by_direction(mask, plan.reverse)
    h_seq, h, c = run_sequence(plan, own, x, h, c, weights_of(cell, autocast_dtype(x)))
    y = h_seq.flip(0) if plan.reverse[0] else h_seq
    if mask is not None:
        y = y.masked_fill(~mask, 0)
    return y, (h,) if c is None else (h, c)


def _both(
    cells: Sequence[Any],
    plans: Sequence[Any],
    x: Tensor,
    states: Sequence[States],
    mask: Tensor | None,
) -> tuple[Tensor, list[States]]:
    plan = plans[0]._replace(reverse=(False, True))
    own = None if mask is None else by_direction(mask, plan.reverse)
    stacked = [torch.stack(pair) for pair in zip(*states, strict=True)]
    weights = [w for cell in cells for w in weights_of(cell, autocast_dtype(x))]
    h, c = stacked[0], stacked[1] if len(stacked) > 1 else None
    h_seq, h, c = run_sequence(plan, own, x, h, c, weights)
    y = torch.cat([h_seq[0], h_seq[1].flip(0)], -1)
    if mask is not None:
        y = y.masked_fill(~mask, 0)
    ends = (h,) if c is None else (h, c)
    return y, [tuple(end[d] for end in ends) for d in range(2)]


def bidirectional_rnn_cell_forward(
    cell: Any, cell_reverse: Any, x: Tensor, states: Any = None, states_reverse: Any = None
) -> tuple[Tensor, Any, Any]:
    """Run a cell forwards and another one backwards over ``x`` ``[T, N, input]``.

    Returns ``(y[T, N, 2H], ss, ss_r)``: y[t] joins the forward cell's output for x[t] with the
    reverse cell's output for the same x[t], which is its step T-1-t; ss is the forward state after
    x[T-1], ss_r the reverse one after x[0] (Schuster and Paliwal 1997). A state is a tensor
    ``[N, H]``, and of a cell with S states a tuple of S or one tensor ``[S, N, H]``; it comes back
    in the form given. None means zeros. Raises ``ValueError`` for a wrong shape.

    >>> import torch
    >>> from sj_rnn import SpikingGRUCell, bidirectional_rnn_cell_forward
    >>> cells = SpikingGRUCell(4, 8), SpikingGRUCell(4, 8)
    >>> h, h_r = torch.zeros(3, 8), torch.zeros(3, 8)
    >>> y, h, h_r = bidirectional_rnn_cell_forward(*cells, torch.rand(5, 3, 4), h, h_r)
    >>> torch.equal(y[-1, :, :8], h), torch.equal(y[0, :, 8:], h_r)
    (True, True)
    """
    for name, own in (("cell", cell), ("cell_reverse", cell_reverse)):
        if not isinstance(own, nn.Module):
            raise TypeError(f"`{name}` must be a cell, got {type(own).__name__}.")
        size = x.shape[-1] if isinstance(x, Tensor) and x.dim() else 0
        check_input(x, "[T, N, input_size]", getattr(own, "input_size", size))
    dtype = autocast_dtype(x)
    x = x if dtype is None else x.to(dtype)
    for own in (cell, cell_reverse):
        check_weights(x, own)
    given = (("states", cell, states), ("states_reverse", cell_reverse, states_reverse))
    unpacked = [_unpack(name, own, x, state, dtype) for name, own, state in given]
    if x.shape[0] == 0:
        size = unpacked[0][0].shape[-1] + unpacked[1][0].shape[-1]
        y, last = x.new_zeros(0, x.shape[1], size), unpacked
    else:
        y, last = run_layer((cell, cell_reverse), x, unpacked, None)
    return y, _pack(last[0], states), _pack(last[1], states_reverse)


def _unpack(name: str, cell: Any, x: Tensor, states: Any, dtype: torch.dtype | None) -> States:
    count = getattr(cell, "states", None)
    if states is None:
        shape = (x.shape[1], cell.hidden_size)
        return tuple(x.new_zeros(shape) for _ in range(count or 1))
    given = tuple(cast(state, dtype) for state in state_tuple(name, states, count))
    shape = (x.shape[1], getattr(cell, "hidden_size", given[0].shape[-1]))  # type: ignore[union-attr]
    check_states(given, name, count or len(given), shape, x)  # type: ignore[arg-type]
    return given  # type: ignore[return-value]


def _pack(last: States, form: Any) -> Any:
    if isinstance(form, Tensor):
        return torch.stack(last) if form.dim() == 3 else last[0]
    if form is None and len(last) == 1:
        return last[0]
    return tuple(last)

"""A sequence as a loop over single steps of any cell: the reference, and what hooks can see."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


def unroll(
    cell: Any, x: Tensor, states: Sequence[Tensor], mask: Tensor | None, reverse: bool
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Output ``[T, N, H]`` in the order of ``x`` ``[T, N, input]``, and the last states.

    ``reverse`` runs from x[T-1] to x[0]. Where ``mask`` ``[T, N, 1]`` is False the states stay
    as they are and the output is zero.
    """
    steps = x.shape[0]
    current = tuple(states)
    output: list[Tensor] = [x] * steps
    for t in reversed(range(steps)) if reverse else range(steps):
        new = cell(x[t], current if len(current) > 1 else current[0])
        following = (new,) if isinstance(new, Tensor) else tuple(new)
        if mask is None:
            output[t] = following[0]
        else:
            following = tuple(
                torch.where(mask[t], n, o) for n, o in zip(following, current, strict=True)
            )
            output[t] = following[0].masked_fill(~mask[t], 0)
        current = following
    return torch.stack(output), current

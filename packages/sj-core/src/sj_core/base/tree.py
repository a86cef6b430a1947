"""Tensors held in tuples, lists, deques and dicts: what states and outputs of modules may be."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor


def map_tensors(fn: Callable[[Tensor], Tensor], value: Any) -> Any:
    """``value`` with ``fn`` applied to every tensor in it (lists, tuples, deques and dicts too).

    >>> import torch
    >>> from sj_core.base import map_tensors
    >>> map_tensors(torch.neg, {"a": [torch.ones(1), 2.0]})
    {'a': [tensor([-1.]), 2.0]}
    """
    if isinstance(value, Tensor):
        return fn(value)
    if isinstance(value, deque):
        return deque((map_tensors(fn, item) for item in value), value.maxlen)
    if isinstance(value, (list, tuple)):
        return _like(value, [map_tensors(fn, item) for item in value])
    if isinstance(value, dict):
        return _like_dict(value, [(key, map_tensors(fn, item)) for key, item in value.items()])
    return value


def combine_tensors(fn: Callable[[list[Tensor]], Tensor], values: Sequence[Any]) -> Any:
    """One value of several of the same structure: each tensor is ``fn`` of those at its place.

    Tuples, lists and dicts keep their class; where all hold None, so does the result.

    >>> import torch
    >>> from sj_core.base import combine_tensors
    >>> steps = [(torch.zeros(2), None), (torch.ones(2), None)]
    >>> combine_tensors(torch.stack, steps)
    (tensor([[0., 0.],
            [1., 1.]]), None)
    """
    first = values[0]
    if isinstance(first, (list, tuple)):
        return _like(first, [combine_tensors(fn, items) for items in zip(*values, strict=True)])
    if isinstance(first, dict):
        kept = [(key, combine_tensors(fn, [value[key] for value in values])) for key in first]
        return _like_dict(first, kept)
    if all(value is None for value in values):
        return None
    return fn(list(values))


def _like(value: Any, items: list[Any]) -> Any:
    return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)


def _like_dict(value: Any, items: list[Any]) -> Any:
    if isinstance(value, defaultdict):
        return type(value)(value.default_factory, items)
    return type(value)(items)


def equal_without_tensors(a: Any, b: Any) -> bool:
    """Whether two states are equal; False where either holds a tensor.

    >>> from sj_core.base.tree import equal_without_tensors
    >>> equal_without_tensors([0.0, None], [0.0, None])
    True
    """
    if isinstance(a, Tensor) or isinstance(b, Tensor):
        return False
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(equal_without_tensors(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        return len(a) == len(b) and all(map(equal_without_tensors, a, b))
    return a is b or bool(a == b)

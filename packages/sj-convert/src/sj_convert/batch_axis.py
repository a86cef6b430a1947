"""Operations that work across the batch axis, into which time cannot be folded for them."""

from __future__ import annotations

from typing import Any

from torch import fx

from sj_convert.flow import Flow
from sj_convert.rewrite import argument

# Position of the axis among the arguments, and its default; None stands for all axes.
_AXIS: dict[str, tuple[int, Any]] = {
    **dict.fromkeys(("cat", "concat", "concatenate", "stack", "unbind", "movedim"), (1, 0)),
    **dict.fromkeys(("select", "narrow", "index_select", "flip", "unsqueeze", "unflatten"), (1, 0)),
    **dict.fromkeys(("chunk", "split", "tensor_split"), (2, 0)),
    **dict.fromkeys(("mean", "sum"), (1, None)),
    **dict.fromkeys(("roll", "repeat_interleave"), (2, None)),
    "squeeze": (1, ()),
}
_TWO_AXES = {"transpose", "swapaxes", "movedim"}
_SIZES = {"repeat", "tile"}
_MATRIX_PRODUCTS = {"matmul", "mm"}


def crosses_batch(node: fx.Node, name: str, flow: Flow) -> bool:
    """Whether the operation `name` moves, mixes or picks entries of axis 0."""
    rank = _rank(node)
    given: tuple[Any, ...] = node.args[1:]
    if name == "t":
        return True
    if name == "getattr":
        turned = node.args[1] in ("T", "H")
        return turned or (node.args[1] in ("mT", "mH") and rank == 2)
    if name == "getitem":
        index = node.args[1]
        first = index[0] if isinstance(index, tuple) and index else index
        return first is not Ellipsis and first != slice(None, None, None)
    if name in _TWO_AXES:
        names = ("dim0", "dim1", "axis0", "axis1", "source", "destination")
        return _has_first([*given, *(node.kwargs[k] for k in names if k in node.kwargs)], rank)
    if name == "permute":
        order = argument(node, 1, "dims")
        order = order if isinstance(order, list | tuple) else given
        return bool(order) and not _is_first(order[0], rank)
    if name in _SIZES:
        sizes = argument(node, 1, "repeats", argument(node, 1, "dims"))
        sizes = sizes if isinstance(sizes, list | tuple) else given
        return rank is not None and len(sizes) >= rank and (len(sizes) > rank or sizes[0] != 1)
    if name in _MATRIX_PRODUCTS and len(node.args) == 2:
        signal = flow.carriers(node)
        return signal == [node.args[1]] and _rank(node, 1) == 2
    if name in _AXIS:
        position, default = _AXIS[name]
        axis = argument(node, position, "dim", default)
        axis = node.kwargs.get("dims", node.kwargs.get("axis", axis))
        if name == "flip" and node.op == "call_method" and given:
            axis = given[0] if isinstance(given[0], list | tuple) else given
        inserted = name in ("stack", "unsqueeze") and rank is not None
        return axis is None or _has_first([axis], rank + 1 if inserted and rank else rank)
    return False


def _rank(node: fx.Node, position: int = 0) -> int | None:
    value: Any = node.args[position] if len(node.args) > position else node.kwargs.get("input")
    if isinstance(value, list | tuple) and value:
        value = value[0]
    meta = value.meta.get("tensor_meta") if isinstance(value, fx.Node) else None
    shape = getattr(meta, "shape", None)
    return None if shape is None else len(shape)


def _is_first(axis: Any, rank: int | None) -> bool:
    return isinstance(axis, int) and (axis == 0 or (rank is not None and axis == -rank))


def _has_first(axes: Any, rank: int | None) -> bool:
    if isinstance(axes, list | tuple):
        return any(_has_first(axis, rank) for axis in axes)
    return _is_first(axes, rank)

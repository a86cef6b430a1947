"""In-place operations, each given a result of its own."""

from __future__ import annotations

import operator
import re
from typing import Any

import torch
import torch.nn.functional as F
from torch import fx

from sj_convert.flow import Flow, module_of, operation_name
from sj_convert.rewrite import argument
from sj_convert.trace import source_line

_INPLACE_OPERATORS = {
    operator.iadd: operator.add,
    operator.isub: operator.sub,
    operator.imul: operator.mul,
    operator.itruediv: operator.truediv,
}
_POSITIONAL_INPLACE: dict[Any, int] = {
    F.relu: 1, F.relu6: 1, F.hardtanh: 3, F.threshold: 3, F.dropout: 3, F.dropout2d: 3,
    F.dropout1d: 3, F.dropout3d: 3, F.alpha_dropout: 3, F.feature_alpha_dropout: 3,
}  # fmt: skip


_VIEWS = {
    *("view", "reshape", "flatten", "unflatten", "transpose", "permute", "squeeze", "unsqueeze"),
    *("view_as", "reshape_as", "swapaxes", "movedim", "t", "getitem", "select", "narrow", "expand"),
    *("expand_as", "chunk", "split", "unbind", "tensor_split", "detach", "contiguous", "getattr"),
    *("dropout", "dropout1d", "dropout2d", "dropout3d", "Flatten", "Unflatten", "Identity"),
    *("Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "broadcast_to", "to", "float", "double"),
}


def _line_of_views(gm: fx.GraphModule, node: fx.Node) -> list[fx.Node]:
    """`node` and the values whose memory it may look into, the nearest first."""
    line = [node]
    while operation_name(gm, line[-1]) in _VIEWS and line[-1].all_input_nodes:
        line.append(line[-1].all_input_nodes[0])
    return line


def _refuse_views(
    gm: fx.GraphModule, node: fx.Node, changed: fx.Node, order: dict[fx.Node, int], flow: Flow
) -> None:
    """`ValueError` if `node` changes what another value, read later, looks into."""
    line = _line_of_views(gm, changed)
    for other in gm.graph.nodes:
        if other is node or order.get(other, -1) > order[node]:
            break
        common = next((n for n in _line_of_views(gm, other) if n in line), None)
        # The parts of a list, of `chunk` say, lie apart.
        if other is changed or common is None or common in flow.lists:
            continue
        later = [u for u in other.users if order.get(u, -1) > order[node]]
        if any(u in flow.tensors or u in flow.lists or u.op == "output" for u in later):
            raise ValueError(
                f"`ann` changes `{changed.name}` in place at {source_line(node)}, and "
                f"`{other.name}`, which shares its memory, is read later; write it without the "
                "in-place form."
            )


def without_in_place(gm: fx.GraphModule) -> None:
    """Give every in-place operation a result of its own, and that result to all later readers."""
    nodes = list(gm.graph.nodes)
    flow = Flow(gm)
    order = {node: i for i, node in enumerate(nodes)}
    for node in nodes:
        changed: Any = None
        name = getattr(node.target, "__name__", node.target)
        if node.op == "call_function" and node.target in _INPLACE_OPERATORS:
            changed, node.target = node.args[0], _INPLACE_OPERATORS[node.target]
        elif node.op == "call_method" and re.fullmatch(r"[a-z0-9_]*[a-z0-9]_", str(name)):
            changed = node.args[0]
            node.target = str(name)[:-1]
        elif node.op == "call_function" and re.fullmatch(r"[a-z0-9_]*[a-z0-9]_", str(name)):
            changed = argument(node, 0, "input")
            node.target = _out_of_place(node.target)
        elif node.kwargs.get("inplace") is True or (
            node.op == "call_function"
            and node.target in _POSITIONAL_INPLACE
            and argument(node, _POSITIONAL_INPLACE[node.target], "inplace") is True
        ):
            changed = argument(node, 0, "input")
            node.kwargs = {k: v for k, v in node.kwargs.items() if k != "inplace"}
            node.args = node.args[: _POSITIONAL_INPLACE.get(node.target, len(node.args))]
        elif getattr(module_of(gm, node), "inplace", False) is True:
            changed = argument(node, 0, "input")
        if isinstance(changed, fx.Node) and changed in flow.tensors:
            _refuse_views(gm, node, changed, order, flow)
            for user in list(changed.users):
                if order.get(user, -1) > order[node]:
                    user.replace_input_with(changed, node)


def _out_of_place(target: Any) -> Any:
    name = target.__name__.rstrip("_")
    for home in (torch, F):
        found = getattr(home, name, None)
        if found is not None:
            return found
    return target

"""What flows through a graph: which values are tensors, and which change with the input."""

from __future__ import annotations

import operator
from typing import Any

from torch import fx, nn

NO_TENSOR_METHODS = {"size", "dim", "ndimension", "numel", "stride", "get_device", "element_size"}
_NO_TENSOR_ATTRIBUTES = {"shape", "ndim", "dtype", "device", "is_cuda", "requires_grad", "layout"}
_LISTS = {"chunk", "split", "unbind", "tensor_split"}


def module_of(gm: fx.GraphModule, node: fx.Node) -> nn.Module | None:
    """The module that `node` calls, or None."""
    return gm.get_submodule(str(node.target)) if node.op == "call_module" else None


class Flow:
    """Which values of a graph are tensors, and which of them change with the input."""

    def __init__(self, gm: fx.GraphModule) -> None:
        self.timed: set[fx.Node] = set()
        self.tensors: set[fx.Node] = set()
        self.lists: set[fx.Node] = set()
        for node in gm.graph.nodes:
            sources = node.all_input_nodes
            name = operation_name(gm, node)
            if node.op in ("placeholder", "get_attr", "call_module"):
                self.tensors.add(node)
            elif node.op in ("call_function", "call_method") and not _gives_no_tensor(node, name):
                reads = any(s in self.tensors or s in self.lists for s in sources)
                if reads and name in _LISTS:
                    self.lists.add(node)
                elif reads or getattr(node.target, "__module__", "") != "_operator":
                    self.tensors.add(node)
            if node.op == "placeholder" or any(s in self.timed for s in sources):
                self.timed.add(node)

    def signals(self, node: fx.Node) -> list[fx.Node]:
        """Inputs of `node` that are tensors and change with the network's input."""
        return [
            s
            for s in node.all_input_nodes
            if s in self.timed and (s in self.tensors or s in self.lists)
        ]

    def reads_time(self, node: fx.Node) -> bool:
        """Whether `node` works on tensors with a time axis (and does not just pick from a list)."""
        picks = node.target in (operator.getitem, len)
        return any(s in self.tensors or not picks for s in self.signals(node))

    def constant_arguments(self, node: fx.Node) -> tuple[int | str, ...]:
        """Positions and names of the arguments that hold tensors without a time axis."""
        given: list[tuple[int | str, Any]] = [*enumerate(node.args), *node.kwargs.items()]
        found: list[int | str] = []
        for key, value in given:
            nodes: list[fx.Node] = []
            fx.node.map_arg(value, lambda n, nodes=nodes: nodes.append(n))  # type: ignore[misc]
            if nodes and not any(n in self.timed for n in nodes):
                found.append(key)
        return tuple(found)


def _gives_no_tensor(node: fx.Node, name: str) -> bool:
    if node.op == "call_method":
        return name in NO_TENSOR_METHODS
    if node.target is getattr:
        return node.args[1] in _NO_TENSOR_ATTRIBUTES
    return node.target is len


def operation_name(gm: fx.GraphModule, node: fx.Node) -> str:
    """Name of the module class, function or method that `node` calls."""
    module = module_of(gm, node)
    if module is not None:
        return type(module).__name__
    return str(getattr(node.target, "__name__", node.target))

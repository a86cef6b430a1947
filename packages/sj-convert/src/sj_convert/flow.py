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


_SIZED = {"expand", "repeat", "tile", "broadcast_to", "view", "reshape"}


class Flow:
    """Which values of a graph are tensors, which have a time axis, which change with the input.

    What is timed has a time axis in step mode 'm' or, a size, counts it. A constant that is laid
    out over the batch, such as ``token.expand(x.size(0), -1, -1)``, is timed and does not change.
    """

    def __init__(self, gm: fx.GraphModule) -> None:
        self.timed: set[fx.Node] = set()
        self.changing: set[fx.Node] = set()
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
            # A size gives a constant no time axis, but where it is the batch's.
            given = (
                self.carriers(node)
                if self._holds(node)
                else [s for s in sources if s in self.timed]
            )
            if node.op == "placeholder" or given or self.batch_of(node) is not None:
                self.timed.add(node)
            changes = node.op == "placeholder" or any(s in self.changing for s in sources)
            if changes and self._holds(node):
                self.changing.add(node)

    def _holds(self, node: fx.Node) -> bool:
        return node in self.tensors or node in self.lists

    def carriers(self, node: fx.Node) -> list[fx.Node]:
        """Inputs of `node` that are tensors with a time axis."""
        return [s for s in node.all_input_nodes if s in self.timed and self._holds(s)]

    def signals(self, node: fx.Node) -> list[fx.Node]:
        """Inputs of `node` that are tensors and change with the network's input."""
        return [s for s in node.all_input_nodes if s in self.changing]

    def batch_of(self, node: fx.Node) -> fx.Node | None:
        """The signal over whose batch `node` lays out a constant, or None."""
        name = getattr(node.target, "__name__", node.target)
        if node.op not in ("call_function", "call_method") or name not in _SIZED:
            return None
        if any(s in self.timed and self._holds(s) for s in node.all_input_nodes):
            return None
        sizes = node.args[1] if len(node.args) == 2 else node.args[1:]
        first = sizes[0] if isinstance(sizes, list | tuple) and sizes else sizes
        return self._measured(first) if isinstance(first, fx.Node) else None

    def _measured(self, size: fx.Node) -> fx.Node | None:
        """The timed tensor whose batch `size` is, or None."""
        source: Any = size.args[0] if size.args else None
        if size.target is operator.getitem and size.args[1] == 0 and isinstance(source, fx.Node):
            whole = source.target == "size" and len(source.args) == 1
            if not whole and not (source.target is getattr and source.args[1] == "shape"):
                return None
            source = source.args[0]
        elif size.target != "size" or size.args[1:] != (0,):
            return None
        return source if source in self.timed and source in self.tensors else None

    def reads_time(self, node: fx.Node) -> bool:
        """Whether `node` works on tensors with a time axis (and does not just pick from a list)."""
        picks = node.target in (operator.getitem, len)
        return any(s in self.tensors or not picks for s in self.carriers(node))

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

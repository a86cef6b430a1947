"""Changes of a graph that every step of a conversion makes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import fx, nn

from sj_convert.flow import module_of
from sj_convert.loading import Tailor

TAILOR = "snn_tailor"


class Sites:
    """Names of the places under `snn_tailor`, each telling the path of what stood there."""

    def __init__(self, gm: fx.GraphModule) -> None:
        self.gm = gm
        if not hasattr(gm, TAILOR):
            gm.add_submodule(TAILOR, Tailor())

    def add(self, node: fx.Node, operation: str) -> str:
        """Path of a new place for `node`."""
        if node.op == "call_module":
            path = str(node.target)
        else:
            stack = node.meta.get("nn_module_stack") or {"": ""}
            key, value = list(stack.items())[-1]
            owner = value[0] if isinstance(value, tuple) else key
            path = f"{owner}.{operation}" if owner else operation
        node.meta["source_path"] = path
        base = name = path.replace(".", "_")
        tailor = self.gm.get_submodule(TAILOR)
        count = 0
        while hasattr(tailor, name):
            count += 1
            name = f"{base}_{count}"
        tailor.add_module(name, nn.Module())
        return f"{TAILOR}.{name}"


def put(gm: fx.GraphModule, path: str, module: nn.Module) -> None:
    """Make `module` the submodule `path`, in place of what was there."""
    parent, _, name = path.rpartition(".")
    setattr(gm.get_submodule(parent), name, module)


def replace_call(
    gm: fx.GraphModule, node: fx.Node, path: str, args: tuple[Any, ...], kwargs: Any = None
) -> fx.Node:
    """Call the module at `path` instead of `node`."""
    with gm.graph.inserting_after(node):
        new = gm.graph.call_module(path, args, kwargs or {})
    new.meta = dict(node.meta)
    node.replace_all_uses_with(new, delete_user_cb=lambda user: user is not new)
    gm.graph.erase_node(node)
    return new


def finish(gm: fx.GraphModule) -> fx.GraphModule:
    """Drop what is not used any more, check the graph and compile its code."""
    gm.graph.eliminate_dead_code()
    gm.delete_all_unused_submodules()
    if not hasattr(gm, TAILOR):
        gm.add_submodule(TAILOR, Tailor())
    gm.graph.lint()
    gm.recompile()
    return gm


def calls_of(gm: fx.GraphModule, kinds: type | tuple[type, ...]) -> Iterable[fx.Node]:
    """The nodes that call a module of one of `kinds`, in order."""
    return [node for node in gm.graph.nodes if isinstance(module_of(gm, node), kinds)]


def argument(node: fx.Node, position: int, name: str, default: Any = None) -> Any:
    """Argument of a call, given by position or name."""
    if len(node.args) > position:
        return node.args[position]
    return node.kwargs.get(name, default)

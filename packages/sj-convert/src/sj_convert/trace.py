"""From a network to its graph, and from a node back to the line that made it."""

from __future__ import annotations

import copy
import operator
import re
import traceback
from typing import Any

from torch import fx, nn


class _Proxy(fx.Proxy):
    """Keeps `x += y` apart from `x = x + y`, which fx takes for the same."""

    def _in_place(self, operation: Any, other: Any) -> fx.Proxy:
        return self.tracer.create_proxy("call_function", operation, (self, other), {})

    def __iadd__(self, other: Any) -> fx.Proxy:
        return self._in_place(operator.iadd, other)

    def __isub__(self, other: Any) -> fx.Proxy:
        return self._in_place(operator.isub, other)

    def __imul__(self, other: Any) -> fx.Proxy:
        return self._in_place(operator.imul, other)

    def __itruediv__(self, other: Any) -> fx.Proxy:
        return self._in_place(operator.itruediv, other)


class _Tracer(fx.Tracer):
    record_stack_traces = True

    def proxy(self, node: fx.Node) -> fx.Proxy:
        return _Proxy(node, self)

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        own = type(m).__module__.split(".")[0] in ("sj_core", "sj_convert")
        container = isinstance(m, nn.Sequential)
        return (own and not container) or super().is_leaf_module(m, module_qualified_name)


def trace(ann: nn.Module) -> fx.GraphModule:
    """The graph of a copy of `ann` in eval mode; `ann` is not touched."""
    twin = copy.deepcopy(ann).eval()
    tracer = _Tracer()
    try:
        graph = tracer.trace(twin)
    except Exception as error:
        raise fx.proxy.TraceError(
            f"`ann` ({type(ann).__name__}) cannot be traced: {str(error).rstrip('.')}, at "
            f"{_line_of(error)}; write the choice or loop without looking at tensor values, or put "
            "it outside the network."
        ) from error
    return fx.GraphModule(tracer.root, graph, type(ann).__name__)


def _line_of(error: Exception) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if not re.search(r"[/\\](torch|sj_convert)[/\\]", f.filename)]
    frame = (own or frames)[-1]
    return f"{frame.filename}:{frame.lineno} `{frame.line}`"


def source_line(node: fx.Node) -> str:
    """File, line and code of the call that made `node`, as far as the trace knows them."""
    found = re.findall(r'File "([^"]+)", line (\d+), in \S+\n\s*(.+)', node.stack_trace or "")
    own = [f for f in found if not re.search(r"[/\\](torch|sj_convert)[/\\]", f[0])]
    # A module in a torch container is called by a line of torch.
    called = own or [f for f in found if not re.search(r"[/\\]torch[/\\]fx[/\\]", f[0])]
    if not called:
        return "an unknown line"
    file, line, code = called[-1]
    return f"{file}:{line} `{code.strip()}`"

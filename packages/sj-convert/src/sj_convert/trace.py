"""From a network to its graph, and from a node back to the line that made it."""

from __future__ import annotations

import functools
import inspect
import operator
import re
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import fx, nn
from torch.nn.parameter import is_lazy

from sj_convert.twin import copy_of


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


def _input_names(forward: Callable[..., Any], given: int | None) -> tuple[list[str], list[str]]:
    """Names of the inputs that a graph has, by position and by name; see `trace`."""
    positions: list[str] = []
    keywords: list[str] = []
    for p in list(inspect.signature(forward).parameters.values())[1:]:
        if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD):
            if p.default is p.empty or len(positions) < (given or 0):
                positions.append(p.name)
        elif p.kind is p.VAR_POSITIONAL:
            positions += [f"{p.name}_{i}" for i in range((given or 0) - len(positions))]
        elif p.kind is p.KEYWORD_ONLY and p.default is p.empty:
            keywords.append(p.name)
    return positions, keywords


class _Tracer(fx.Tracer):
    record_stack_traces = True

    def __init__(self, given: int | None = None) -> None:
        super().__init__()
        self.given = given

    def create_args_for_root(
        self, root_fn: Callable[..., Any], is_module: bool, concrete_args: Any = None
    ) -> tuple[Callable[..., Any], list[Any]]:
        """Only inputs that will be given are variables of the graph; the rest has its defaults.

        A flag or an optional mask would else be a tensor that `if` cannot look at.
        """
        positions, keywords = _input_names(root_fn, self.given)
        args: list[Any] = [self.root, *map(self._input, positions)]
        named = {name: self._input(name) for name in keywords}
        if not named:
            return root_fn, args

        @functools.wraps(root_fn)
        def call(*args: Any) -> Any:
            return root_fn(*args, **named)

        return call, args

    def _input(self, name: str) -> fx.Proxy:
        return self.create_proxy("placeholder", name, (), {})

    def proxy(self, node: fx.Node) -> fx.Proxy:
        return _Proxy(node, self)

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        own = type(m).__module__.split(".")[0] in ("sj_core", "sj_convert")
        container = isinstance(m, nn.Sequential)
        return (own and not container) or super().is_leaf_module(m, module_qualified_name)


_OF_LISTS = (
    *("cat", "concat", "concatenate", "stack", "hstack", "vstack", "dstack", "column_stack"),
    "tile",
)


@functools.cache
def _refuses_proxies() -> bool:
    try:
        torch.stack(fx.Proxy(fx.Graph().placeholder("tensors")))  # type: ignore[arg-type]
    except TypeError:
        return True
    return False


def _proxy_in(value: Any) -> fx.Proxy | None:
    if isinstance(value, fx.Proxy):
        return value
    items = value if isinstance(value, tuple | list) else ()
    return next((proxy for proxy in map(_proxy_in, items) if proxy is not None), None)


@contextmanager
def _lists_may_be_proxies() -> Iterator[None]:
    """Record `torch.stack(x.unbind())`: torch 2.6 refuses a proxy for a list before fx is asked.

    Or in one, as in `torch.tile(token, (x.shape[0], 1))`.

    Newer ones ask it, and there nothing is replaced: their compiler may learn the names of torch's
    functions meanwhile, and would not know the ones put back.
    """
    if not _refuses_proxies():
        yield
        return

    def recorded(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            proxy = _proxy_in((*args, *kwargs.values()))
            if proxy is not None:
                return proxy.tracer.create_proxy("call_function", function, args, kwargs)
            return function(*args, **kwargs)

        return call

    before = {name: getattr(torch, name) for name in _OF_LISTS}
    try:
        for name, function in before.items():
            setattr(torch, name, recorded(function))
        yield
    finally:
        for name, function in before.items():
            setattr(torch, name, function)


def trace(ann: nn.Module, given: int | None = None) -> fx.GraphModule:
    """The graph of a copy of `ann` in eval mode; `ann` is not touched.

    The first `given` inputs are the graph's, and those without a default; the others keep theirs.
    """
    twin = copy_of(unwrapped(ann)).eval()
    tracer = _Tracer(given)
    if tracer.is_leaf_module(twin, ""):
        return _single_call(twin, given, type(ann).__name__)
    try:
        with _lists_may_be_proxies():
            graph = tracer.trace(twin)
    except Exception as error:
        raise fx.proxy.TraceError(
            f"`ann` ({type(ann).__name__}) cannot be traced: {str(error).rstrip('.')}, at "
            f"{_line_of(error)}; write the choice or loop without looking at values or shapes of "
            "tensors, or put it outside the network."
        ) from error
    return fx.GraphModule(tracer.root, graph, type(ann).__name__)


def _single_call(module: nn.Module, given: int | None, name: str) -> fx.GraphModule:
    """The graph of a network that is one module of torch's or of this library.

    Its forward is not looked into, as it is not where the module is part of a network.
    """
    if type(module).forward is nn.Module.forward:
        raise TypeError(
            f"`ann` (of type {name}) must have a `forward`: join its modules by an nn.Sequential "
            "or by a module of your own."
        )
    root, path, graph = nn.Module().eval(), type(module).__name__.lower(), fx.Graph()
    root.add_module(path, module)
    names, _ = _input_names(type(module).forward, given)
    call = graph.call_module(path, tuple(graph.placeholder(name) for name in names))
    call.meta["source_line"] = "the network itself"
    graph.output(call)
    return fx.GraphModule(root, graph, name)


def unwrapped(ann: Any) -> nn.Module:
    """The network itself within what trains it on several devices or compiles it."""
    if not isinstance(ann, nn.Module) or isinstance(ann, torch.jit.ScriptModule):
        raise TypeError(
            f"`ann` (of type {type(ann).__name__}) must be a torch.nn.Module written in Python."
        )
    if isinstance(ann, nn.DataParallel | nn.parallel.DistributedDataParallel):
        return unwrapped(ann.module)
    compiled = ann._modules.get("_orig_mod")
    if compiled is not None:
        return unwrapped(compiled)
    for name, value in (*ann.named_parameters(), *ann.named_buffers()):
        if is_lazy(value):
            raise ValueError(f"`ann` has `{name}` without a shape yet; run `ann` on a batch first.")
    return ann


def _line_of(error: Exception) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if not re.search(r"[/\\](torch|sj_convert)[/\\]", f.filename)]
    frame = (own or frames)[-1]
    return f"{frame.filename}:{frame.lineno} `{frame.line}`"


def source_line(node: fx.Node) -> str:
    """File, line and code of the call that made `node`, as far as the trace knows them."""
    if "source_line" in node.meta:
        return str(node.meta["source_line"])
    found = re.findall(r'File "([^"]+)", line (\d+), in \S+\n\s*(.+)', node.stack_trace or "")
    own = [f for f in found if not re.search(r"[/\\](torch|sj_convert)[/\\]", f[0])]
    # A module in a torch container is called by a line of torch.
    called = own or [f for f in found if not re.search(r"[/\\]torch[/\\]fx[/\\]", f[0])]
    if not called:
        return "an unknown line"
    file, line, code = called[-1]
    return f"{file}:{line} `{code.strip()}`"

"""From a trained network to a graph in one form: every ReLU and every max pool is a module."""

from __future__ import annotations

import copy
import math
import operator
import re
import traceback
from collections.abc import Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import fx, nn

from sj_convert.flow import Flow, module_of

TAILOR = "snn_tailor"

DROPOUTS = (nn.modules.dropout._DropoutNd,)
_DROPOUT_FUNCTIONS = {
    *(F.dropout, F.dropout1d, F.dropout2d, F.dropout3d, F.alpha_dropout, F.feature_alpha_dropout),
    torch.dropout,
}
_INPLACE_OPERATORS = {
    operator.iadd: operator.add,
    operator.isub: operator.sub,
    operator.imul: operator.mul,
    operator.itruediv: operator.truediv,
}
_CLAMPS = {torch.clamp, torch.clip, torch.clamp_, torch.clip_, "clamp", "clip", "clamp_", "clip_"}
_CLAMPS_MIN = {torch.clamp_min, torch.clamp_min_, "clamp_min", "clamp_min_"}
_RELUS = {F.relu, F.relu_, torch.relu, torch.relu_, "relu", "relu_"}
_HARDTANHS = {F.hardtanh, F.hardtanh_}
_THRESHOLDS = {F.threshold, torch.threshold, torch.threshold_}
_MAX_POOLS: dict[Any, type[nn.Module]] = {
    torch.max_pool1d: nn.MaxPool1d,
    torch.max_pool2d: nn.MaxPool2d,
    torch.max_pool3d: nn.MaxPool3d,
    F.max_pool1d: nn.MaxPool1d,
    F.max_pool2d: nn.MaxPool2d,
    F.max_pool3d: nn.MaxPool3d,
    F.adaptive_max_pool1d: nn.AdaptiveMaxPool1d,
    F.adaptive_max_pool2d: nn.AdaptiveMaxPool2d,
    F.adaptive_max_pool3d: nn.AdaptiveMaxPool3d,
}
MAX_POOLS = (nn.modules.pooling._MaxPoolNd, nn.modules.pooling._AdaptiveMaxPoolNd)


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


def argument(node: fx.Node, position: int, name: str, default: Any = None) -> Any:
    """Argument of a call, given by position or name."""
    if len(node.args) > position:
        return node.args[position]
    return node.kwargs.get(name, default)


def relu_ceiling(gm: fx.GraphModule, node: fx.Node) -> float | None:
    """Largest value of the ReLU that `node` is (infinity for a plain one); None if it is none."""
    module = module_of(gm, node)
    if module is not None:
        if isinstance(module, nn.ReLU):
            return math.inf
        if isinstance(module, nn.Hardtanh):
            return float(module.max_val) if module.min_val == 0 < module.max_val else None
        if isinstance(module, nn.Threshold) and module.threshold == 0 and module.value == 0:
            return math.inf
        return None
    if node.op not in ("call_function", "call_method"):
        return None
    target: Any = node.target
    low: Any = None
    high: Any = math.inf
    if target in _RELUS:
        low = 0
    elif target is F.relu6:
        low, high = 0, 6.0
    elif target in _HARDTANHS:
        low, high = argument(node, 1, "min_val", -1.0), argument(node, 2, "max_val", 1.0)
    elif target in _CLAMPS:
        low, high = argument(node, 1, "min"), argument(node, 2, "max")
        high = math.inf if high is None else high
    elif target in _CLAMPS_MIN:
        low = argument(node, 1, "min")
    elif target in _THRESHOLDS and argument(node, 2, "value") == 0:
        low = argument(node, 1, "threshold")
    numbers = isinstance(low, int | float) and isinstance(high, int | float)
    return float(high) if numbers and low == 0 and high > 0 else None


class Sites:
    """Names of the places under `snn_tailor`, each telling the path of what stood there."""

    def __init__(self, gm: fx.GraphModule) -> None:
        self.gm = gm
        if not hasattr(gm, TAILOR):
            gm.add_submodule(TAILOR, nn.Module())

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
        gm.add_submodule(TAILOR, nn.Module())
    gm.graph.lint()
    gm.recompile()
    return gm


def normalise(gm: fx.GraphModule, neurons_behind_pools: bool = True) -> fx.GraphModule:
    """Rewrite `gm` in place: each ReLU and max pool a module of its own, no dropout, no in-place.

    With `neurons_behind_pools` a ReLU that only a max pool reads changes places with it, which
    leaves the network's function as it is.
    """
    for node in gm.graph.nodes:
        node.type = None  # an annotation kept as text cannot be pickled with the graph
    _without_in_place(gm)
    sites = Sites(gm)
    for node in list(gm.graph.nodes):
        module = module_of(gm, node)
        passes = isinstance(module, (nn.Identity, *DROPOUTS)) or node.target in _DROPOUT_FUNCTIONS
        if passes:
            node.replace_all_uses_with(node.args[0] if node.args else node.kwargs["input"])
            gm.graph.erase_node(node)
            continue
        if node.op == "call_module" and str(node.target).startswith(TAILOR + "."):
            continue  # in its place already
        ceiling = relu_ceiling(gm, node)
        if ceiling is not None:
            name = getattr(node.target, "__name__", str(node.target)).rstrip("_")
            path = sites.add(node, "relu6" if name == "relu6" else "relu")
            plain = nn.ReLU() if ceiling == math.inf else nn.Hardtanh(0.0, ceiling)
            put(gm, path + ".relu", plain)
            replace_call(gm, node, path + ".relu", (_input(node),))
        elif isinstance(module, MAX_POOLS) or node.target in _MAX_POOLS:
            _pool_module(gm, node, module, sites)
    if neurons_behind_pools:
        for node in list(gm.graph.nodes):
            if isinstance(module_of(gm, node), MAX_POOLS):
                _swap_with_relu(gm, node)
    return finish(gm)


def _input(node: fx.Node) -> Any:
    return node.args[0] if node.args else node.kwargs["input"]


def _pool_module(gm: fx.GraphModule, node: fx.Node, module: nn.Module | None, sites: Sites) -> None:
    if module is None:
        kwargs = {k: v for k, v in node.kwargs.items() if k != "input"}
        names = ["kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices"]
        if "adaptive" in node.target.__name__:  # type: ignore[union-attr]
            names = ["output_size", "return_indices"]
        rest = node.args[1:] if node.args else ()
        given = {**dict(zip(names, rest, strict=False)), **kwargs}
        if any(isinstance(v, fx.Node) for v in given.values()):
            return  # a window that depends on the input stays what it is, and is reported
        stride = given.get("stride")
        if isinstance(stride, list | tuple) and not stride:
            given["stride"] = None
        module = _MAX_POOLS[node.target](**given)
    if getattr(module, "return_indices", False):
        return
    path = sites.add(node, getattr(node.target, "__name__", "max_pool"))
    put(gm, path, copy.deepcopy(module))
    replace_call(gm, node, path, (_input(node),))


def _swap_with_relu(gm: fx.GraphModule, pool: fx.Node) -> None:
    relu = pool.args[0]
    if not isinstance(relu, fx.Node) or relu_ceiling(gm, relu) is None or len(relu.users) > 1:
        return
    source = relu.args[0]
    pool.replace_all_uses_with(relu)
    pool.args = (source,)
    relu.args = (pool,)
    pool.append(relu)


def _without_in_place(gm: fx.GraphModule) -> None:
    """Give every in-place operation a result of its own, and that result to all later readers."""
    nodes = list(gm.graph.nodes)
    tensors = Flow(gm).tensors
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
            changed = _input(node)
            node.target = _out_of_place(node.target)
        elif node.kwargs.get("inplace") is True or (
            node.op == "call_function"
            and node.target in _POSITIONAL_INPLACE
            and argument(node, _POSITIONAL_INPLACE[node.target], "inplace") is True
        ):
            changed = _input(node)
            node.kwargs = {k: v for k, v in node.kwargs.items() if k != "inplace"}
            node.args = node.args[: _POSITIONAL_INPLACE.get(node.target, len(node.args))]
        elif getattr(module_of(gm, node), "inplace", False) is True:
            changed = _input(node)
        if isinstance(changed, fx.Node) and changed in tensors:
            for user in list(changed.users):
                if order.get(user, -1) > order[node]:
                    user.replace_input_with(changed, node)


_POSITIONAL_INPLACE: dict[Any, int] = {
    F.relu: 1, F.relu6: 1, F.hardtanh: 3, F.threshold: 3, F.dropout: 3, F.dropout2d: 3,
    F.dropout1d: 3, F.dropout3d: 3, F.alpha_dropout: 3, F.feature_alpha_dropout: 3,
}  # fmt: skip


def _out_of_place(target: Any) -> Any:
    name = target.__name__.rstrip("_")
    for home in (torch, F):
        found = getattr(home, name, None)
        if found is not None:
            return found
    return target


def calls_of(gm: fx.GraphModule, kinds: type | tuple[type, ...]) -> Iterable[fx.Node]:
    """The nodes that call a module of one of `kinds`, in order."""
    return [node for node in gm.graph.nodes if isinstance(module_of(gm, node), kinds)]

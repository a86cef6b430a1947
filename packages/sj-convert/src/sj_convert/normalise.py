"""One form of graph: every ReLU and every max pool is a module of its own."""

from __future__ import annotations

import copy
import math

from torch import fx, nn

from sj_convert.activation import (
    DROPOUT_FUNCTIONS,
    DROPOUTS,
    MAX_POOL_FUNCTIONS,
    MAX_POOLS,
    relu_ceiling,
)
from sj_convert.flow import module_of
from sj_convert.inplace import without_in_place
from sj_convert.rewrite import TAILOR, Sites, argument, finish, put, replace_call


def normalise(gm: fx.GraphModule, neurons_behind_pools: bool = True) -> fx.GraphModule:
    """Rewrite `gm` in place: each ReLU and max pool a module of its own, no dropout, no in-place.

    With `neurons_behind_pools` a ReLU that only a max pool reads changes places with it, which
    leaves the network's function as it is.
    """
    for node in gm.graph.nodes:
        node.type = None  # an annotation kept as text cannot be pickled with the graph
    without_in_place(gm)
    sites = Sites(gm)
    for node in list(gm.graph.nodes):
        module = module_of(gm, node)
        passes = isinstance(module, (nn.Identity, *DROPOUTS)) or node.target in DROPOUT_FUNCTIONS
        if passes:
            node.replace_all_uses_with(argument(node, 0, "input"))
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
            replace_call(gm, node, path + ".relu", (argument(node, 0, "input"),))
        elif isinstance(module, MAX_POOLS) or node.target in MAX_POOL_FUNCTIONS:
            _pool_module(gm, node, module, sites)
    if neurons_behind_pools:
        for node in list(gm.graph.nodes):
            if isinstance(module_of(gm, node), MAX_POOLS):
                _swap_with_relu(gm, node)
    return finish(gm)


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
        module = MAX_POOL_FUNCTIONS[node.target](**given)
    if getattr(module, "return_indices", False):
        return
    path = sites.add(node, getattr(node.target, "__name__", "max_pool"))
    put(gm, path, copy.deepcopy(module))
    replace_call(gm, node, path, (argument(node, 0, "input"),))


def _swap_with_relu(gm: fx.GraphModule, pool: fx.Node) -> None:
    relu = pool.args[0]
    if not isinstance(relu, fx.Node) or relu_ceiling(gm, relu) is None or len(relu.users) > 1:
        return
    source = relu.args[0]
    pool.replace_all_uses_with(relu)
    pool.args = (source,)
    relu.args = (pool,)
    pool.append(relu)

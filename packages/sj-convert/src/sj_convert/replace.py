"""Neurons in the place of ReLUs, with the scales that hooks found."""

from __future__ import annotations

import math
import warnings
from typing import Any

import torch
from torch import Tensor, fx, nn

from sj_convert.activation import MAX_POOLS, relu_ceiling
from sj_convert.flow import module_of
from sj_convert.modules import TINY_SCALE, VoltageHook, VoltageScaler
from sj_convert.neuron import BurstIFNode, ScaledIFNode, SignedIFNode
from sj_convert.pooling import pool_over_time
from sj_convert.rewrite import calls_of, put
from sj_core.neuron import BaseNode, IFNode

NEURONS: dict[str, type[ScaledIFNode]] = {
    "if": ScaledIFNode,
    "signed": SignedIFNode,
    "burst": BurstIFNode,
}


def replace_relus(gm: fx.GraphModule, *, fused: bool, neuron: str, v_init: float) -> None:
    """Replace each ReLU and its `VoltageHook` by neurons with the hook's scale, in place."""
    for node in calls_of(gm, VoltageHook):
        relu = node.args[0]
        ceiling = relu_ceiling(gm, relu) if isinstance(relu, fx.Node) else None
        if ceiling is None:
            continue
        assert isinstance(relu, fx.Node)
        hook = module_of(gm, node)
        assert isinstance(hook, VoltageHook)
        site = str(node.target).rpartition(".")[0]
        scale = _usable_scale(hook, relu)
        if neuron == "burst" and ceiling < math.inf:
            scale = scale.clamp(max=ceiling / BurstIFNode.most_spikes)
        if fused:
            chain: list[tuple[str, nn.Module]] = [(site, NEURONS[neuron](scale, v_init=v_init))]
        else:
            parts = (VoltageScaler(1 / scale), _unit_node(neuron, v_init), VoltageScaler(scale))
            put(gm, site, nn.Sequential(*parts))
            chain = [(f"{site}.{i}", part) for i, part in enumerate(parts)]
        value: Any = relu.args[0]
        for path, module in chain:
            put(gm, path, module.to(scale.device))
            with gm.graph.inserting_before(node):
                value = gm.graph.call_module(path, (value,))
            value.meta = dict(node.meta)
        node.replace_all_uses_with(value)
        gm.graph.erase_node(node)
        gm.graph.erase_node(relu)


def replace_max_pools(gm: fx.GraphModule, form: str) -> None:
    """Give each max pool its `form` over time, in place."""
    for node in calls_of(gm, MAX_POOLS):
        pool = module_of(gm, node)
        assert pool is not None
        if not pool.return_indices:
            put(gm, str(node.target), pool_over_time(pool, form))


def _unit_node(neuron: str, v_init: float) -> BaseNode:
    if neuron != "if":
        return NEURONS[neuron](1.0, v_init=v_init, scaled=False)
    node = IFNode(v_threshold=1.0, v_reset=None)
    if v_init:
        node.register_memory("v", v_init)
    return node


def _usable_scale(hook: VoltageHook, relu: fx.Node) -> Tensor:
    scale = hook.scale
    if not bool((scale > 0).any()):
        path = relu.meta.get("source_path", str(relu.target))
        warnings.warn(
            f"The ReLU `{path}` never fires on `dataloader`, as far as `mode` (={hook.mode!r}) "
            f"sees: its scale is set to {TINY_SCALE:.1e}; calibrate with data like that of "
            "training.",
            UserWarning,
            stacklevel=2,
        )
        return torch.full_like(scale, TINY_SCALE)
    # Beside a layer's largest, a channel that hardly fires may be 0 too, but not a whole layer.
    return scale.clamp(min=TINY_SCALE * min(1.0, float(scale.max())))

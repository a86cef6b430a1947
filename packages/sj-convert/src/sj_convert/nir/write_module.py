"""The NIR nodes of a module, by its class; a NIR network becomes a graph of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import fx, nn

from sj_convert.modules import VoltageScaler
from sj_convert.neuron import ScaledIFNode
from sj_convert.nir import write_layers as layers, write_neurons as neurons
from sj_convert.nir.euler import EulerNode, NeuronDelay, Scale, Threshold
from sj_convert.nir.network import NIRNetwork
from sj_convert.nir.target import Target
from sj_convert.trace import source_line
from sj_core import functional, layer, neuron
from sj_core.neuron import BaseNode

_Write = Callable[[Target, Any, tuple[int, ...], fx.Node], Any]
_WRITERS: list[tuple[Any, _Write]] = [
    (EulerNode, neurons.euler),
    ((neuron.LIFNode, neuron.ParametricLIFNode, neuron.NonSpikingLIFNode), neurons.leaky),
    (neuron.CUBALIFNode, neurons.current_based),
    (neuron.NonSpikingIFNode, neurons.non_spiking_if),
    ((neuron.IFNode, neuron.HalfThresholdIFNode, ScaledIFNode), neurons.integrate),
    (nn.Linear, layers.affine),
    ((nn.Conv1d, nn.Conv2d), layers.conv),
    (nn.AvgPool2d, layers.pool),
    (nn.Flatten, layers.flatten),
    ((VoltageScaler, Scale), layers.scale),
    (Threshold, layers.threshold),
    ((layer.Delay, NeuronDelay), layers.delay),
]
_DYNAMICS = ("neuronal_charge", "neuronal_fire", "neuronal_reset", "_step")


def nodes_of(
    to: Target, module: nn.Module, shape: tuple[int, ...], at: fx.Node
) -> list[tuple[str, Any]]:
    """The NIR nodes, in a row, of `module`, which takes a sample of `shape`, and their suffixes."""
    if isinstance(module, NIRNetwork):
        return [("", graph_of(to, module, [shape], at))]
    for kinds, write in _WRITERS:
        if isinstance(module, kinds) and _steps_like(module, kinds):
            found = write(to, module, shape, at)
            return found if isinstance(found, list) else [("", found)]
    raise ValueError(
        f"`net` has `{at.target}` ({type(module).__name__}) at {source_line(at)}, which NIR "
        "does not express; replace it, or write the rest without it."
    )


def _steps_like(module: nn.Module, kinds: Any) -> bool:
    """Whether a neuron derived from one of `kinds` makes that one's step still."""
    if not isinstance(module, BaseNode):
        return True
    kinds = kinds if isinstance(kinds, tuple) else (kinds,)
    return any(
        all(getattr(type(module), name) is getattr(kind, name) for name in _DYNAMICS)
        for kind in kinds
        if isinstance(module, kind)
    )


def graph_of(
    to: Target, net: NIRNetwork, shapes: Sequence[tuple[int, ...]], at: fx.Node | None = None
) -> Any:
    """The NIR graph of a network that was one, for inputs of `shapes`: its nodes, names, edges."""
    taken, given = _shapes(net, shapes)
    nodes: dict[str, Any] = {
        name: to.nir.Input({"input": np.array(shape)})
        for name, shape in zip(net.inputs, shapes, strict=True)
    }
    first, last = {}, {}
    inner: list[tuple[str, str]] = []
    for name in net.names:
        place = fx.Graph().create_node("call_module", name if at is None else f"{at.target}.{name}")
        place.stack_trace = None if at is None else at.stack_trace
        chain = [
            (name + suffix, node)
            for suffix, node in nodes_of(to, net.part(name), taken[name], place)
        ]
        nodes.update(chain)
        first[name], last[name] = chain[0][0], chain[-1][0]
        inner += [(a, b) for (a, _), (b, _) in pairwise(chain)]
    for name in net.outputs:
        nodes[name] = to.nir.Output({"output": np.array(given[name])})
    edges = [(last.get(a, a), first.get(b, b)) for a, b in net.edges]
    return to.nir.NIRGraph(nodes, [*edges, *inner])


def _shapes(net: NIRNetwork, shapes: Sequence[tuple[int, ...]]) -> tuple[Any, Any]:
    """Shapes of a sample: what each part takes, and what each output gives."""
    taken: dict[str, tuple[int, ...]] = {}
    handles = [
        net.part(name).register_forward_pre_hook(
            lambda _, x, name=name: taken.setdefault(name, tuple(x[0].shape[1:])) and None
        )
        for name in net.names
    ]
    like = next((p for p in net.parameters() if p.is_floating_point()), torch.empty(0))
    try:
        with torch.no_grad():
            for _ in range(len(net.names) + 1):  # what lies in a cycle runs later
                y = net(*(like.new_zeros(1, *shape) for shape in shapes))
                if len(taken) == len(net.names):
                    break
    finally:
        for handle in handles:
            handle.remove()
        functional.reset_net(net)
    results = y if isinstance(y, tuple) else (y,)
    return taken, {
        name: tuple(value.shape[1:]) for name, value in zip(net.outputs, results, strict=True)
    }

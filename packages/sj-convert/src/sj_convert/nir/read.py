"""From a NIR graph to a network."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from sj_convert.nir import read_layers as layers, read_neurons as neurons
from sj_convert.nir.euler import Scale, Threshold
from sj_convert.nir.extra import as_array, check_dt, check_dtype, load_nir
from sj_convert.nir.network import NIRNetwork
from sj_core import layer


def from_nir(
    graph_or_path: Any, dt: float = 1e-4, *, dtype: torch.dtype | None = None
) -> nn.Module:
    r"""The network of a NIR graph, stepped by forward Euler with the time step `dt`.

    ``v += (dt/tau)((v_leak - v) + r I)``. Neurons whose parameters are all the same and fit one of
    sj-core's become that (LIFNode, IFNode, CUBALIFNode, NonSpikingLIFNode); others keep a value per
    neuron. Neurons start at rest (v_leak); current-based ones use the new current. An edge that
    closes a cycle delays by one step. A voltage exactly at the threshold fires here and not in NIR.

    Shapes: the result takes ``(N, *)`` per step, or ``(T, N, *)`` after
    ``functional.set_step_mode(net, 'm')``.

    Args:
        graph_or_path: a `nir.NIRGraph`, or the path of a file that holds one. Types are not
            checked, and values may be torch tensors.
        dt: time step in seconds. Longer than a time constant it warns: then Euler overshoots.
        dtype: of parameters and buffers. None is float64 where `to_nir` wrote a float64 network,
            which it notes in the graph, and else torch's default: NumPy's arrays are float64
            whether or not anybody asked for it.

    Raises:
        ImportError: nir is missing.
        TypeError: `graph_or_path` is neither, or `dtype` no floating-point dtype.
        ValueError: a kind of node that is not known, or `dt` not positive.

    Pedersen et al., "Neuromorphic intermediate representation: a unified instruction set for
    interoperable brain-inspired computing" (2024).

    Example:
        >>> import nir, numpy as np
        >>> lif = nir.LIF(*(np.full(2, v) for v in (2e-4, 1.0, 0.0, 1.0)))
        >>> net = from_nir(nir.NIRGraph.from_list(nir.Linear(np.eye(2)), lif))
        >>> net.part("lif").tau, net.part("lif").v_threshold
        (2.0, 1.0)
    """
    nir = load_nir()
    dt = check_dt(dt)
    graph = graph_or_path
    if isinstance(graph, str | os.PathLike):
        graph = nir.read(os.fspath(graph), type_check=False)
    if not isinstance(graph, nir.NIRGraph):
        raise TypeError(
            f"`graph_or_path` (of type {type(graph).__name__}) must be a nir.NIRGraph or the path "
            "of a file."
        )
    return _network(graph, dt).to(check_dtype(dtype, graph))


def _network(graph: Any, dt: float) -> NIRNetwork:
    kinds = {name: type(node).__name__ for name, node in graph.nodes.items()}
    inputs = [name for name, kind in kinds.items() if kind == "Input"]
    outputs = [name for name, kind in kinds.items() if kind == "Output"]
    edges = [(str(a), str(b)) for a, b in graph.edges]
    modules: dict[str, nn.Module] = {}
    for name, node in graph.nodes.items():
        if kinds[name] in ("Input", "Output"):
            continue
        if kinds[name] == "NIRGraph":
            modules[name] = _network(node, dt)
        elif kinds[name] in _READERS:
            modules[name] = _READERS[kinds[name]](node, dt)
        else:
            raise ValueError(
                f"`graph` has the node {name!r} of kind {kinds[name]}, which is not known; known "
                f"are {', '.join(sorted(_READERS))}."
            )
    if not inputs:  # graphs without Input nodes begin at what no edge leads to
        reached = {target for _, target in edges}
        roots = [name for name in modules if name not in reached] or list(modules)[:1]
        inputs = [f"{name}.input" for name in roots]
        edges += list(zip(inputs, roots, strict=True))
    if not outputs:
        left = {source for source, _ in edges}
        leaves = [name for name in modules if name not in left] or list(modules)[-1:]
        outputs = [f"{name}.output" for name in leaves]
        edges += list(zip(leaves, outputs, strict=True))
    return NIRNetwork(modules, edges, inputs, outputs)


_READERS: dict[str, Callable[[Any, float], nn.Module]] = {
    "LIF": neurons.lif,
    "LI": neurons.lif,
    "IF": neurons.integrator,
    "I": neurons.integrator,
    "CubaLIF": neurons.cuba,
    "CubaLI": neurons.cuba,
    "Linear": layers.linear,
    "Affine": layers.linear,
    "Conv1d": layers.conv(layer.Conv1d),
    "Conv2d": layers.conv(layer.Conv2d),
    "AvgPool2d": layers.pool(False),
    "SumPool2d": layers.pool(True),
    "Flatten": layers.flatten,
    "Scale": lambda node, dt: Scale(as_array(node.scale)),
    "Threshold": lambda node, dt: Threshold(as_array(node.threshold)),
    "Delay": layers.delay,
}

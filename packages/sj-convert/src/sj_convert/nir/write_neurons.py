"""The NIR nodes of neurons."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import fx

from sj_convert.neuron import ScaledIFNode
from sj_convert.nir.target import Target, full
from sj_convert.start import StartedNode
from sj_convert.trace import source_line
from sj_core import neuron


def leaky(to: Target, node: Any, shape: tuple[int, ...], at: fx.Node) -> Any:
    if isinstance(node, neuron.ParametricLIFNode):
        tau = 1 / torch.sigmoid(node.w.detach().double()).item()
    else:
        tau = node.tau
    r = 1.0 if node.decay_input else tau
    spiking = not isinstance(node, neuron.NonSpikingLIFNode)
    leak = full(shape, node.rest)
    common = {"tau": full(shape, tau * to.dt), "r": full(shape, r), "v_leak": leak}
    metadata = _start(node, node.rest)
    if not spiking:
        if node.decode is not None:
            metadata["decode"] = node.decode
        return to.nir.LI(**common, metadata=metadata)
    theta = full(shape, node.v_threshold)
    if node.v_reset is not None:
        reset = full(shape, node.v_reset)
        return to.nir.LIF(**common, v_threshold=theta, v_reset=reset, metadata=metadata)
    to.refuse_soft(at, node)
    if to.soft_reset == "metadata":
        metadata["reset"] = "soft"
        return to.nir.LIF(**common, v_threshold=theta, metadata=metadata)
    li = to.nir.LI(**common, metadata=metadata)
    return _feedback(to, li, theta, -theta * (tau - 1) / r, shape)


def integrate(to: Target, node: Any, shape: tuple[int, ...], at: fx.Node) -> Any:
    theta = full(shape, node.v_threshold)
    r = full(shape, 1 / to.dt)
    scaled = isinstance(node, ScaledIFNode)
    if node.v_reset is not None:
        metadata = _start(node, node.v_reset)
        return to.nir.IF(r, theta, full(shape, node.v_reset), metadata=metadata)
    to.refuse_soft(at, node)
    start: Any = None
    if isinstance(node, StartedNode):
        start = full(shape, node.v_start)
    elif isinstance(node, neuron.HalfThresholdIFNode):
        start = theta / 2
    metadata = _start(node, 0.0, start)
    if to.soft_reset == "metadata":
        metadata["reset"] = "soft"
        found = to.nir.IF(r, theta, metadata=metadata)
    else:
        found = _feedback(to, to.nir.I(r, metadata=metadata), theta, -theta, shape)
    if scaled and node.scaled:
        return [("", found), (".scale", to.nir.Scale(theta))]
    return found


def _start(node: Any, rest: float, start: Any = None) -> dict[str, Any]:
    """Where V begins, for the metadata, unless an import begins there of itself: at `rest`."""
    value = node._memory_reset_values["v"] if start is None else start
    # HDF5 cannot compress a scalar.
    array = np.atleast_1d(np.asarray(value, dtype=np.float64))
    return {} if (array == rest).all() else {"v_start": array}


def _feedback(
    to: Target, integrator: Any, theta: np.ndarray, scale: np.ndarray, shape: tuple[int, ...]
) -> Any:
    """An integrator whose spikes, one step later, take away what a soft reset takes."""
    nodes = {
        "input": to.nir.Input({"input": np.array(shape)}),
        "membrane": integrator,
        "threshold": to.nir.Threshold(theta),
        "reset": to.nir.Scale(scale),
        "output": to.nir.Output({"output": np.array(shape)}),
    }
    edges = [
        ("input", "membrane"),
        ("membrane", "threshold"),
        ("threshold", "reset"),
        ("reset", "membrane"),
        ("threshold", "output"),
    ]
    return to.nir.NIRGraph(nodes, edges)


def current_based(to: Target, node: Any, shape: tuple[int, ...], at: fx.Node) -> Any:
    if node.c_decay >= 1 or node.v_decay >= 1:
        raise ValueError(
            f"`net` has `{at.target}` (CUBALIFNode) at {source_line(at)} with a decay of 1, an "
            "infinite time constant; NIR's CubaLIF leaks."
        )
    metadata = _start(node, 0.0)
    reset = None if node.v_reset is None else full(shape, node.v_reset)
    if reset is None:
        to.refuse_soft(at, node)
        if to.soft_reset == "subgraph":
            raise _no_subgraph(at, node)
        metadata["reset"] = "soft"
    return to.nir.CubaLIF(
        tau_syn=full(shape, to.dt / (1 - node.c_decay)),
        tau_mem=full(shape, to.dt / (1 - node.v_decay)),
        r=full(shape, 1 / (1 - node.v_decay)),
        v_leak=full(shape, 0.0),
        v_threshold=full(shape, node.v_threshold),
        v_reset=reset,
        w_in=full(shape, 1 / (1 - node.c_decay)),
        metadata=metadata,
    )


def _no_subgraph(at: fx.Node, node: Any) -> ValueError:
    return ValueError(
        f"`net` has `{at.target}` ({type(node).__name__}) at {source_line(at)} with a soft reset, "
        "which has no subgraph; pass `soft_reset='metadata'`."
    )


def non_spiking_if(to: Target, node: Any, shape: tuple[int, ...], at: fx.Node) -> Any:
    metadata = _start(node, 0.0)
    return to.nir.I(full(shape, 1 / to.dt), metadata=metadata)


def euler(to: Target, node: Any, shape: tuple[int, ...], at: fx.Node) -> Any:
    n, dt = to.nir, to.dt

    def each(name: str) -> np.ndarray:
        return full(shape, getattr(node, name))

    metadata: dict[str, Any] = {"v_start": each("start")}
    fires = {}
    soft = node.v_threshold is not None and node.v_reset is None
    if soft:
        to.refuse_soft(at, node)
    as_graph = soft and to.soft_reset == "subgraph"
    if as_graph and node.current_rate is not None:
        raise _no_subgraph(at, node)
    if node.v_threshold is not None and not as_graph:
        fires["v_threshold"] = each("v_threshold")
        if soft:
            metadata["reset"] = "soft"
        else:
            fires["v_reset"] = each("v_reset")
    back: Any = -each("v_threshold") / each("gain") if as_graph else None
    if node.leak_rate is None:
        found = (n.IF if fires else n.I)(r=each("gain") / dt, **fires, metadata=metadata)
    else:
        leak = {"r": each("gain"), "v_leak": each("v_leak"), "metadata": metadata}
        tau = dt / each("leak_rate")
        if node.current_rate is not None:
            currents = {"tau_syn": dt / each("current_rate"), "w_in": each("w_in")}
            return (n.CubaLIF if fires else n.CubaLI)(tau_mem=tau, **currents, **leak, **fires)
        found = (n.LIF if fires else n.LI)(tau=tau, **leak, **fires)
        back = None if back is None else back * (1 / each("leak_rate") - 1)
    return _feedback(to, found, each("v_threshold"), back, shape) if as_graph else found

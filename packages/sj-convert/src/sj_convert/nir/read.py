"""From a NIR graph to a network."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from sj_convert.nir.euler import EulerNode, NeuronDelay, Scale, Threshold, as_buffer
from sj_convert.nir.extra import as_array, check_dt, load_nir
from sj_convert.nir.network import NIRNetwork
from sj_core import layer
from sj_core.neuron import CUBALIFNode, IFNode, LIFNode, NonSpikingLIFNode


def from_nir(graph_or_path: Any, dt: float = 1e-4) -> nn.Module:
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
        dt: time step in seconds.

    Raises:
        ImportError: nir is missing.
        TypeError: `graph_or_path` is neither.
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
    return _network(graph, dt)


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


def _uniform(value: Any) -> float | None:
    """The one value of an array, None if it holds several."""
    array = as_array(value)
    if array.size and (array == array.flat[0]).all():
        return float(array.flat[0])
    return None


def _rounded(value: float) -> float:
    # tau * dt / dt is tau again but for the last bits; written in float32, but for the last seven.
    for digits in (6, 12):
        short = float(f"{value:.{digits}g}")
        if abs(short - value) <= 2e-7 * abs(value) and digits == 6:
            return short
        if abs(short - value) <= 1e-12 * abs(value):
            return short
    return value


def _near(a: float, b: float) -> bool:
    return abs(a - b) <= 1e-6 * abs(b)


def _metadata(node: Any) -> dict[str, Any]:
    found = getattr(node, "metadata", None)
    return found if isinstance(found, dict) else {}


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _soft(node: Any) -> bool:
    return _text(_metadata(node).get("reset", "")) == "soft"


def _start(node: Any, rest: Any) -> Any:
    given = _metadata(node).get("v_start")
    return rest if given is None else as_array(given)


def _reset(node: Any) -> Any:
    if _soft(node):
        return None
    value = getattr(node, "v_reset", None)
    return np.zeros_like(as_array(node.v_threshold)) if value is None else as_array(value)


def _begin(module: Any, start: Any) -> Any:
    value = _uniform(start)
    if value is not None:
        module.register_memory("v", value)
    return module


def _lif(node: Any, dt: float) -> nn.Module:
    leak = as_array(node.v_leak)
    tau, r, rest = (_uniform(v) for v in (as_array(node.tau) / dt, node.r, leak))
    spikes = hasattr(node, "v_threshold")
    reset = _reset(node) if spikes else None
    start = _start(node, leak)
    theta = _uniform(node.v_threshold) if spikes else 1.0
    hard = None if reset is None else _uniform(reset)
    same = None not in (tau, r, rest, theta, _uniform(start)) and (
        reset is None or hard is not None
    )
    if same and tau is not None and r is not None and rest is not None and theta is not None:
        tau = _rounded(tau)
        decays = _near(r, 1.0)
        if tau > 1 and (decays or _near(r, tau)):
            default = 0.0 if hard is None else hard
            v_rest = None if rest == default else rest
            if spikes:
                return _begin(LIFNode(tau, decays, theta, hard, v_rest=v_rest), start)
            decode = _metadata(node).get("decode")
            decode = None if decode is None else _text(decode)
            return _begin(
                NonSpikingLIFNode(tau, decays, decode, v_reset=None, v_rest=v_rest), start
            )
    return EulerNode(
        leak_rate=dt / as_array(node.tau),
        gain=as_array(node.r),
        v_leak=leak,
        v_threshold=as_array(node.v_threshold) if spikes else None,
        v_reset=reset,
        start=start,
    )


def _integrator(node: Any, dt: float) -> nn.Module:
    gain = as_array(node.r) * dt
    spikes = hasattr(node, "v_threshold")
    reset = _reset(node) if spikes else None
    start = _start(node, 0.0 if reset is None else reset)
    values = [_uniform(gain), _uniform(start)]
    if spikes:
        theta, hard = _uniform(node.v_threshold), None if reset is None else _uniform(reset)
        whole = None not in values and theta is not None and (reset is None or hard is not None)
        if whole and theta is not None and _near(float(gain.flat[0]), 1.0):
            return _begin(IFNode(theta, hard), start)
    theta_array = as_array(node.v_threshold) if spikes else None
    return EulerNode(gain=gain, v_threshold=theta_array, v_reset=reset, start=start)


def _cuba(node: Any, dt: float) -> nn.Module:
    leak = as_array(node.v_leak)
    current_rate, leak_rate = dt / as_array(node.tau_syn), dt / as_array(node.tau_mem)
    r, w_in = as_array(node.r), as_array(node.w_in)
    spikes = hasattr(node, "v_threshold")
    reset = _reset(node) if spikes else None
    start = _start(node, leak)
    if spikes:
        scalars = [
            _uniform(v)
            for v in (current_rate, leak_rate, r * leak_rate, w_in * current_rate, leak, start)
        ]
        theta, hard = _uniform(node.v_threshold), None if reset is None else _uniform(reset)
        if None not in scalars and theta is not None and (reset is None or hard is not None):
            c, m, gain, drive, rest = (float(v or 0.0) for v in scalars[:5])
            if _near(gain, 1) and _near(drive, 1) and rest == 0 and c <= 1 and m <= 1:
                decays = (_rounded(1 - c) if c < 1 else 0.0, _rounded(1 - m) if m < 1 else 0.0)
                return _begin(CUBALIFNode(*decays, theta, hard), start)
    return EulerNode(
        current_rate=current_rate,
        w_in=w_in,
        leak_rate=leak_rate,
        gain=r,
        v_leak=leak,
        v_threshold=as_array(node.v_threshold) if spikes else None,
        v_reset=reset,
        start=start,
    )


def _with(module: Any, weight: Any, bias: Any = None) -> Any:
    module.weight = nn.Parameter(as_buffer(as_array(weight)))
    if bias is not None:
        module.bias = nn.Parameter(as_buffer(as_array(bias)))
    return module


def _linear(node: Any, dt: float) -> nn.Module:
    weight = as_array(node.weight)
    bias = getattr(node, "bias", None)
    if weight.ndim != 2:
        raise ValueError(
            f"`weight` (of shape {weight.shape}) of a {type(node).__name__} node must have two "
            "axes."
        )
    linear = layer.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    return _with(linear, weight, bias)


def _sizes(value: Any) -> Any:
    if isinstance(value, str | bytes):
        return _text(value)
    array = as_array(value).astype(int).flatten().tolist()
    return array[0] if len(array) == 1 else tuple(array)


def _conv(cls: type[nn.Module]) -> Callable[[Any, float], nn.Module]:
    def read(node: Any, dt: float) -> nn.Module:
        weight = as_array(node.weight)
        groups = int(node.groups)
        conv = cls(
            weight.shape[1] * groups,
            weight.shape[0],
            tuple(weight.shape[2:]),
            stride=_sizes(node.stride),
            padding=_sizes(node.padding),
            dilation=_sizes(node.dilation),
            groups=groups,
            bias=node.bias is not None,
        )
        return _with(conv, weight, node.bias)

    return read


def _pool(sums: bool) -> Callable[[Any, float], nn.Module]:
    def read(node: Any, dt: float) -> nn.Module:
        sizes = (_sizes(node.kernel_size), _sizes(node.stride), _sizes(node.padding))
        return layer.AvgPool2d(*sizes, divisor_override=1 if sums else None)

    return read


def _flatten(node: Any, dt: float) -> nn.Module:
    # NIR counts the axes of one sample, torch those behind the batch.
    start, end = int(node.start_dim), int(node.end_dim)
    shape = None if node.input_type is None else node.input_type.get("input")
    if shape is not None and len(np.atleast_1d(as_array(shape))) == 1:
        start = 0
    return layer.Flatten(start + (start >= 0), end + (end >= 0))


def _delay(node: Any, dt: float) -> nn.Module:
    steps = np.rint(as_array(node.delay) / dt)
    if (steps < 0).any():
        raise ValueError(f"`delay` (={as_array(node.delay).min()}) must not be negative.")
    same = _uniform(steps)
    if same is not None:
        return layer.Delay(int(same))
    return NeuronDelay(torch.as_tensor(steps))


_READERS: dict[str, Callable[[Any, float], nn.Module]] = {
    "LIF": _lif,
    "LI": _lif,
    "IF": _integrator,
    "I": _integrator,
    "CubaLIF": _cuba,
    "CubaLI": _cuba,
    "Linear": _linear,
    "Affine": _linear,
    "Conv1d": _conv(layer.Conv1d),
    "Conv2d": _conv(layer.Conv2d),
    "AvgPool2d": _pool(False),
    "SumPool2d": _pool(True),
    "Flatten": _flatten,
    "Scale": lambda node, dt: Scale(as_array(node.scale)),
    "Threshold": lambda node, dt: Threshold(as_array(node.threshold)),
    "Delay": _delay,
}

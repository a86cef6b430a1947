"""From a network to a NIR graph."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn
from torch.fx.passes.shape_prop import ShapeProp

from sj_convert.flow import module_of, operation_name
from sj_convert.fuse import fuse
from sj_convert.modules import VoltageScaler
from sj_convert.neuron import ScaledIFNode
from sj_convert.nir.euler import EulerNode, NeuronDelay, Scale, Threshold
from sj_convert.nir.extra import check_dt, load_nir
from sj_convert.trace import _DROPOUTS, source_line, trace
from sj_core import functional, layer, neuron

_SOFT_RESETS = ("error", "metadata", "subgraph")
_SUMS = {operator.add, operator.iadd, torch.add, "add", "add_"}
_FLATTENS = {torch.flatten, "flatten"}
_RESHAPES = {torch.reshape, "reshape", "view"}
_PASSED = {"contiguous", "clone", "detach", F.dropout, torch.clone}


def to_nir(
    net: nn.Module,
    sample_input: Tensor,
    dt: float = 1e-4,
    *,
    soft_reset: str = "error",
) -> Any:
    r"""The NIR graph of a network, for simulators and hardware with a time step `dt`.

    With ``v += (dt/tau)((v_leak - v) + r I)``, NIR's neurons at forward Euler are the network's:
    LIFNode becomes ``nir.LIF(tau=tau*dt, r=1 if decay_input else tau, v_leak, v_threshold,
    v_reset)``, IFNode ``nir.IF(r=1/dt)``, CUBALIFNode ``nir.CubaLIF``, NonSpikingLIFNode
    ``nir.LI``. BatchNorm is folded into the weights first; recurrent containers become cycles. NIR
    fires at ``v > v_threshold``, this library at ``v >= v_threshold``.

    Shapes: `sample_input` ``(N, *)``, or ``(T, N, *)`` for a net in step mode 'm'.

    Args:
        net: modules, and functions that add, flatten or scale; its state is not used.
        sample_input: an input, for the shapes.
        dt: time step in seconds.
        soft_reset: NIR knows no reset by subtraction. 'error' refuses it; 'metadata' writes a hard
            reset with ``metadata={'reset': 'soft'}``, which `from_nir` understands; 'subgraph'
            writes LI, Threshold and a scale that feeds back, which any simulator runs exactly.

    Raises:
        ImportError: nir is missing.
        ValueError: something that NIR does not express, with its place in the code.

    Pedersen et al., "Neuromorphic intermediate representation: a unified instruction set for
    interoperable brain-inspired computing" (2024).

    Example:
        >>> net = nn.Sequential(nn.Linear(3, 2), neuron.LIFNode(tau=2.0))
        >>> graph = to_nir(net, torch.rand(1, 3))
        >>> graph.edges
        [('input', '0'), ('0', '1'), ('1', 'output')]
        >>> graph.nodes["1"].tau
        array([0.0002, 0.0002])
    """
    nir = load_nir()
    dt = check_dt(dt)
    if soft_reset not in _SOFT_RESETS:
        raise ValueError(
            f"`soft_reset` (={soft_reset!r}) must be 'error', 'metadata' or 'subgraph'."
        )
    modes = {getattr(m, "step_mode", None) for m in net.modules()}
    if "m" in modes and isinstance(sample_input, Tensor):
        sample_input = sample_input[0]
    gm = trace(net)
    functional.reset_net(gm)
    functional.set_step_mode(gm, "s")
    with torch.no_grad():
        ShapeProp(gm).propagate(sample_input)
        fuse(gm)
        ShapeProp(gm).propagate(sample_input)
    functional.reset_net(gm)
    return _Writer(nir, gm, dt, soft_reset).graph()


class _Writer:
    """Nodes and edges as they are found; `ends` maps a value to the NIR nodes that carry it."""

    def __init__(self, nir: Any, gm: fx.GraphModule, dt: float, soft_reset: str) -> None:
        self.nir, self.gm, self.dt, self.soft_reset = nir, gm, dt, soft_reset
        self.nodes: dict[str, Any] = {}
        self.edges: list[tuple[str, str]] = []
        self.ends: dict[fx.Node, list[str]] = {}

    def graph(self) -> Any:
        inputs = [n for n in self.gm.graph.nodes if n.op == "placeholder"]
        for node in self.gm.graph.nodes:
            if node.op == "placeholder":
                name = "input" if len(inputs) == 1 else str(node.target)
                shape = np.array(_shape(node))
                self.ends[node] = [self.add(name, self.nir.Input({"input": shape}), [])]
            elif node.op == "output":
                self.outputs(node.args[0])
            elif node.op == "call_module":
                self.module(node)
            elif node.op != "get_attr":
                self.function(node)
        return self.nir.NIRGraph(self.nodes, self.edges)

    def add(self, name: str, node: Any, sources: list[str]) -> str:
        unique, i = name, 0
        while unique in self.nodes:
            i += 1
            unique = f"{name}_{i}"
        self.nodes[unique] = node
        for source in sources:
            if (source, unique) in self.edges:  # twice the same value: NIR has no double edges
                shape = np.ones(tuple(self.nodes[source].output_type["output"]))
                source = self.add(f"{source}_again", self.nir.Scale(shape), [source])
            self.edges.append((source, unique))
        return unique

    def outputs(self, value: Any) -> None:
        results = list(value) if isinstance(value, tuple | list) else [value]
        for i, result in enumerate(results):
            name = "output" if len(results) == 1 else f"output_{i}"
            node = self.nir.Output({"output": np.array(_shape(result))})
            self.add(name, node, self.ends[result])

    def module(self, node: fx.Node) -> None:
        module = module_of(self.gm, node)
        assert module is not None
        source = node.all_input_nodes[0]
        name = str(node.target)
        self.ends[node] = self.chain(module, name, self.ends[source], _shape(source), node)

    def chain(
        self, module: nn.Module, name: str, sources: list[str], shape: tuple[int, ...], at: fx.Node
    ) -> list[str]:
        """Write `module`, which takes a sample of `shape`, behind `sources`."""
        if isinstance(module, (nn.Identity, *_DROPOUTS, layer.Dropout, layer.Dropout2d)):
            return sources
        if isinstance(module, nn.Sequential):
            for i, child in enumerate(module):
                sources = self.chain(child, f"{name}.{i}", sources, shape, at)
                shape = _through(child, shape)
            return sources
        if isinstance(module, layer.LinearRecurrentContainer | layer.ElementWiseRecurrentContainer):
            return self.recurrent(module, name, sources, shape, at)
        found = self.write(module, shape, at)
        for suffix, nir_node in found:
            sources = [self.add(name + suffix, nir_node, sources)]
        return sources

    def write(
        self, module: nn.Module, shape: tuple[int, ...], at: fx.Node
    ) -> list[tuple[str, Any]]:
        """The NIR nodes of one module, in a row."""
        for kinds, writer in _WRITERS:
            if isinstance(module, kinds):
                found = writer(self, module, shape, at)
                return found if isinstance(found, list) else [("", found)]
        raise ValueError(
            f"`net` has `{at.target}` ({type(module).__name__}) at {source_line(at)}, which NIR "
            "does not express; replace it, or write the rest without it."
        )

    def recurrent(
        self, module: Any, name: str, sources: list[str], shape: tuple[int, ...], at: fx.Node
    ) -> list[str]:
        sub = module.sub_module
        before = set(self.nodes)
        if isinstance(module, layer.LinearRecurrentContainer):
            weight = _array(module.rc.weight)
            bias = np.zeros(len(weight)) if module.rc.bias is None else _array(module.rc.bias)
            width = weight.shape[0]
            forward = self.nir.Affine(weight[:, :width], bias)
            sources = [self.add(f"{name}.w_in", forward, sources)]
            ends = self.chain(sub, f"{name}.sub_module", sources, shape, at)
            back = self.nir.Linear(weight[:, width:])
            first = self._first(before, sources)
            w_rec = self.add(f"{name}.w_rec", back, ends)
            self.edges.append((w_rec, first))
            return ends
        a, b = torch.rand(2, 1, *shape).unbind(0)
        f = module.element_wise_function
        if not torch.equal(f(a, b), a + b):
            raise ValueError(
                f"`net` has `{at.target}` at {source_line(at)}, whose `element_wise_function` "
                "is not a sum: NIR only adds."
            )
        ends = self.chain(sub, f"{name}.sub_module", sources, shape, at)
        first = self._first(before, sources)
        self.edges.extend((end, first) for end in ends)
        return ends

    def _first(self, before: set[str], sources: list[str]) -> str:
        """The first node behind `sources` that was not there `before`."""
        return next(
            target for source, target in self.edges if source in sources and target not in before
        )

    def function(self, node: fx.Node) -> None:
        target: Any = node.target
        tensors = [n for n in node.all_input_nodes if n in self.ends]
        if target in _SUMS and "alpha" not in node.kwargs and len(tensors) == len(node.args) == 2:
            self.ends[node] = [end for n in tensors for end in self.ends[n]]
            if len(set(self.ends[node])) < len(self.ends[node]):  # x + x
                ends = self.ends[node]
                again = self.nir.Scale(np.ones(_shape(node)))
                self.ends[node] = [ends[0], self.add(f"{node.name}_again", again, ends[1:])]
        elif target in _PASSED and tensors:
            self.ends[node] = self.ends[tensors[0]]
        elif target in _FLATTENS | _RESHAPES and tensors and len(_shape(node)) == 1:
            shape = np.array(_shape(tensors[0]))
            flatten = self.nir.Flatten({"input": shape}, start_dim=0, end_dim=-1)
            self.ends[node] = [self.add(node.name, flatten, self.ends[tensors[0]])]
        elif target in (operator.mul, torch.mul, "mul") and len(tensors) == 1:
            constant: Any = next(a for a in node.args if a is not tensors[0])
            if isinstance(constant, fx.Node):
                constant = _array(_attribute(self.gm, str(constant.target)))
            scale = np.broadcast_to(np.asarray(constant, dtype=np.float64), _shape(node)).copy()
            self.ends[node] = [self.add(node.name, self.nir.Scale(scale), self.ends[tensors[0]])]
        elif not isinstance(node.meta.get("tensor_meta"), tuple):
            return  # a size
        else:
            raise ValueError(
                f"`net` has `{node.name}` ({operation_name(self.gm, node)}) at {source_line(node)}"
                ", which NIR does not express; replace it, or write the rest without it."
            )

    def refuse_soft(self, at: fx.Node, module: nn.Module) -> None:
        if self.soft_reset == "error":
            raise ValueError(
                f"`net` has `{at.target}` ({type(module).__name__}) at {source_line(at)} with a "
                "soft reset, which NIR does not know; pass `soft_reset='metadata'` or 'subgraph'."
            )


def _shape(node: Any) -> tuple[int, ...]:
    """Shape of one sample of a value of the graph."""
    return tuple(node.meta["tensor_meta"].shape[1:])


def _through(module: nn.Module, shape: tuple[int, ...]) -> tuple[int, ...]:
    with torch.no_grad():
        y: Tensor = module(torch.zeros(1, *shape))
    functional.reset_net(module)
    return tuple(y.shape[1:])


def _array(value: Tensor) -> np.ndarray:
    return value.detach().cpu().double().numpy()


def _attribute(gm: fx.GraphModule, path: str) -> Tensor:
    found: Any = gm
    for name in path.split("."):
        found = getattr(found, name)
    return found


def _full(shape: tuple[int, ...], value: Any) -> np.ndarray:
    """`value`, a number, a vector per channel or an array per neuron, for each neuron."""
    if isinstance(value, Tensor):
        array = _array(value)
        if array.ndim == 1 and len(shape) > 1:
            array = array.reshape(-1, *[1] * (len(shape) - 1))
        value = array
    return np.broadcast_to(np.asarray(value, dtype=np.float64), shape).copy()


def _leaky(w: _Writer, node: Any, shape: tuple[int, ...], at: fx.Node) -> Any:
    if isinstance(node, neuron.ParametricLIFNode):
        tau = 1 / torch.sigmoid(node.w.detach().double()).item()
    else:
        tau = node.tau
    r = 1.0 if node.decay_input else tau
    spiking = not isinstance(node, neuron.NonSpikingLIFNode)
    start = 0.0 if node.v_reset is None else node.v_reset
    leak = _full(shape, node.rest)
    common = {"tau": _full(shape, tau * w.dt), "r": _full(shape, r), "v_leak": leak}
    metadata = _start(start, node.rest)
    if not spiking:
        if node.decode is not None:
            metadata["decode"] = node.decode
        return w.nir.LI(**common, metadata=metadata)
    theta = _full(shape, node.v_threshold)
    if node.v_reset is not None:
        reset = _full(shape, node.v_reset)
        return w.nir.LIF(**common, v_threshold=theta, v_reset=reset, metadata=metadata)
    w.refuse_soft(at, node)
    if w.soft_reset == "metadata":
        metadata["reset"] = "soft"
        return w.nir.LIF(**common, v_threshold=theta, metadata=metadata)
    li = w.nir.LI(**common, metadata=metadata)
    return _feedback(w, li, theta, -theta * (tau - 1) / r, shape)


def _integrate(w: _Writer, node: Any, shape: tuple[int, ...], at: fx.Node) -> Any:
    theta = _full(shape, node.v_threshold)
    r = _full(shape, 1 / w.dt)
    scaled = isinstance(node, ScaledIFNode)
    start: Any = 0.0 if node.v_reset is None else node.v_reset
    if scaled:
        start = node.v_init * theta
    elif isinstance(node, neuron.HalfThresholdIFNode):
        start = theta / 2
    elif node.v_reset is None:
        start = node._memory_reset_values["v"]
    if node.v_reset is not None:
        return w.nir.IF(r, theta, _full(shape, node.v_reset))
    w.refuse_soft(at, node)
    metadata = _start(start, 0.0)
    if w.soft_reset == "metadata":
        metadata["reset"] = "soft"
        found = w.nir.IF(r, theta, metadata=metadata)
    else:
        found = _feedback(w, w.nir.I(r, metadata=metadata), theta, -theta, shape)
    if scaled and node.scaled:
        return [("", found), (".scale", w.nir.Scale(theta))]
    return found


def _start(start: Any, rest: float) -> dict[str, Any]:
    array = np.atleast_1d(np.asarray(start, dtype=np.float64))  # HDF5 cannot compress a scalar
    return {} if (array == rest).all() else {"v_start": array}


def _feedback(
    w: _Writer, integrator: Any, theta: np.ndarray, scale: np.ndarray, shape: tuple[int, ...]
) -> Any:
    """An integrator whose spikes, one step later, take away what a soft reset takes."""
    nodes = {
        "input": w.nir.Input({"input": np.array(shape)}),
        "membrane": integrator,
        "threshold": w.nir.Threshold(theta),
        "reset": w.nir.Scale(scale),
        "output": w.nir.Output({"output": np.array(shape)}),
    }
    edges = [
        ("input", "membrane"),
        ("membrane", "threshold"),
        ("threshold", "reset"),
        ("reset", "membrane"),
        ("threshold", "output"),
    ]
    return w.nir.NIRGraph(nodes, edges)


def _current_based(w: _Writer, node: Any, shape: tuple[int, ...], at: fx.Node) -> Any:
    if node.c_decay >= 1 or node.v_decay >= 1:
        raise ValueError(
            f"`net` has `{at.target}` (CUBALIFNode) at {source_line(at)} with a decay of 1, an "
            "infinite time constant; NIR's CubaLIF leaks."
        )
    metadata = _start(0.0 if node.v_reset is None else node.v_reset, 0.0)
    reset = None if node.v_reset is None else _full(shape, node.v_reset)
    if reset is None:
        w.refuse_soft(at, node)
        if w.soft_reset == "subgraph":
            raise ValueError(
                f"`net` has `{at.target}` (CUBALIFNode) at {source_line(at)} with a soft reset, "
                "which has no subgraph; pass `soft_reset='metadata'`."
            )
        metadata["reset"] = "soft"
    return w.nir.CubaLIF(
        tau_syn=_full(shape, w.dt / (1 - node.c_decay)),
        tau_mem=_full(shape, w.dt / (1 - node.v_decay)),
        r=_full(shape, 1 / (1 - node.v_decay)),
        v_leak=_full(shape, 0.0),
        v_threshold=_full(shape, node.v_threshold),
        v_reset=reset,
        w_in=_full(shape, 1 / (1 - node.c_decay)),
        metadata=metadata,
    )


def _non_spiking_if(w: _Writer, node: Any, shape: tuple[int, ...], at: fx.Node) -> Any:
    metadata = _start(0.0 if node.v_reset is None else node.v_reset, 0.0)
    return w.nir.I(_full(shape, 1 / w.dt), metadata=metadata)


def _euler(w: _Writer, node: Any, shape: tuple[int, ...], at: fx.Node) -> Any:
    n, dt = w.nir, w.dt

    def full(name: str) -> np.ndarray:
        return _full(shape, getattr(node, name))

    metadata: dict[str, Any] = {"v_start": full("start")}
    fires = {}
    if node.v_threshold is not None:
        fires = {"v_threshold": full("v_threshold")}
        if node.v_reset is None:
            w.refuse_soft(at, node)
            metadata["reset"] = "soft"
        else:
            fires["v_reset"] = full("v_reset")
    if node.leak_rate is None:
        kind = n.IF if fires else n.I
        return kind(r=full("gain") / dt, **fires, metadata=metadata)
    leak = {"r": full("gain"), "v_leak": full("v_leak"), "metadata": metadata}
    if node.current_rate is None:
        return (n.LIF if fires else n.LI)(tau=dt / full("leak_rate"), **leak, **fires)
    rates = {"tau_syn": dt / full("current_rate"), "tau_mem": dt / full("leak_rate")}
    return (n.CubaLIF if fires else n.CubaLI)(**rates, **leak, **fires, w_in=full("w_in"))


def _affine(w: _Writer, module: Any, shape: tuple[int, ...], at: fx.Node) -> Any:
    if module.bias is None:
        return w.nir.Linear(_array(module.weight))
    return w.nir.Affine(_array(module.weight), _array(module.bias))


def _conv(w: _Writer, module: Any, shape: tuple[int, ...], at: fx.Node) -> Any:
    if module.padding_mode != "zeros":
        raise ValueError(
            f"`net` has `{at.target}` at {source_line(at)} with `padding_mode` "
            f"(={module.padding_mode!r}); NIR pads with zeros."
        )
    one = isinstance(module, nn.Conv1d)
    bias = np.zeros(module.out_channels) if module.bias is None else _array(module.bias)

    def size(value: Any) -> Any:
        return value[0] if one and isinstance(value, tuple) else value

    node = (w.nir.Conv1d if one else w.nir.Conv2d)(
        input_shape=shape[1] if one else tuple(shape[1:]),
        weight=_array(module.weight),
        stride=size(module.stride),
        padding=size(module.padding),
        dilation=size(module.dilation),
        groups=module.groups,
        bias=bias,
    )
    # nir takes no account of groups and of kernels that are not square.
    node.input_type = {"input": np.array(shape)}
    node.output_type = {"output": np.array(_shape(at))}
    return node


def _pool(w: _Writer, module: Any, shape: tuple[int, ...], at: fx.Node) -> Any:
    pair = torch.nn.modules.utils._pair
    kernel, padding = pair(module.kernel_size), pair(module.padding)
    stride = pair(module.stride if module.stride is not None else module.kernel_size)
    area = kernel[0] * kernel[1]
    plain = not module.ceil_mode and (module.count_include_pad or padding == (0, 0))
    if not plain or module.divisor_override not in (None, 1, area):
        raise ValueError(
            f"`net` has `{at.target}` (AvgPool2d) at {source_line(at)} with ceil_mode, padding "
            "that is not counted, or a divisor, which NIR does not express."
        )
    sums = module.divisor_override == 1 and area != 1
    kind = w.nir.SumPool2d if sums else w.nir.AvgPool2d
    return kind(*(np.array(v) for v in (kernel, stride, padding)))


def _flatten(w: _Writer, module: Any, shape: tuple[int, ...], at: fx.Node) -> Any:
    rank = len(shape) + 1
    start, end = module.start_dim % rank, module.end_dim % rank
    if start == 0:
        raise ValueError(f"`net` flattens the batch into `{at.target}`, which NIR does not know.")
    last = -1 if end == rank - 1 else end - 1
    return w.nir.Flatten({"input": np.array(shape)}, start_dim=start - 1, end_dim=last)


def _scale(w: _Writer, module: Any, shape: tuple[int, ...], at: fx.Node) -> Any:
    return w.nir.Scale(_full(shape, module.scale))


def _threshold(w: _Writer, module: Any, shape: tuple[int, ...], at: fx.Node) -> Any:
    return w.nir.Threshold(_full(shape, module.threshold))


def _delay(w: _Writer, module: Any, shape: tuple[int, ...], at: fx.Node) -> Any:
    steps = module.steps.double() if isinstance(module, NeuronDelay) else module.delay_steps
    return w.nir.Delay(_full(shape, steps) * w.dt)


_Write = Callable[[_Writer, Any, tuple[int, ...], fx.Node], Any]
_WRITERS: list[tuple[Any, _Write]] = [
    (EulerNode, _euler),
    ((neuron.LIFNode, neuron.ParametricLIFNode, neuron.NonSpikingLIFNode), _leaky),
    (neuron.CUBALIFNode, _current_based),
    (neuron.NonSpikingIFNode, _non_spiking_if),
    ((neuron.IFNode, neuron.HalfThresholdIFNode, ScaledIFNode), _integrate),
    (nn.Linear, _affine),
    ((nn.Conv1d, nn.Conv2d), _conv),
    (nn.AvgPool2d, _pool),
    (nn.Flatten, _flatten),
    ((VoltageScaler, Scale), _scale),
    (Threshold, _threshold),
    ((layer.Delay, NeuronDelay), _delay),
]

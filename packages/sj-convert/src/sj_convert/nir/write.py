"""From a network to a NIR graph."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from sj_convert.fuse import fuse
from sj_convert.nir.extra import check_dt, load_nir, note_dtype
from sj_convert.nir.network import NIRNetwork
from sj_convert.nir.target import SOFT_RESETS, Target
from sj_convert.nir.write_module import graph_of
from sj_convert.nir.writer import Writer
from sj_convert.shapes import find_shapes
from sj_convert.trace import trace
from sj_core import functional


def to_nir(
    net: nn.Module,
    sample_input: Tensor | Sequence[Tensor],
    dt: float = 1e-4,
    *,
    soft_reset: str = "error",
) -> Any:
    r"""The NIR graph of a network, for simulators and hardware with a time step `dt`.

    With ``v += (dt/tau)((v_leak - v) + r I)``, NIR's neurons at forward Euler are the network's:
    LIFNode becomes ``nir.LIF(tau=tau*dt, r=1 if decay_input else tau, v_leak, v_threshold,
    v_reset)``, IFNode ``nir.IF(r=1/dt)``, CUBALIFNode ``nir.CubaLIF``, NonSpikingLIFNode
    ``nir.LI``. BatchNorm is folded into the weights first; recurrent containers become cycles; a
    network that `from_nir` made is written with the nodes, names and edges it had. NIR fires at
    ``v > v_threshold``, this library at ``v >= v_threshold``. Values are written in float64; that
    the network itself was is noted in ``graph.metadata``, and `from_nir` reads it as one.

    Shapes: `sample_input` ``(N, *)``, or ``(T, N, *)`` for a net in step mode 'm'.

    Args:
        net: modules, and functions that add, flatten or scale; its state is not used.
        sample_input: an input, for the shapes; several inputs as a tuple.
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
        >>> from sj_core.neuron import LIFNode
        >>> net = nn.Sequential(nn.Linear(3, 2), LIFNode(tau=2.0))
        >>> graph = to_nir(net, torch.rand(1, 3))
        >>> graph.edges
        [('input', '0'), ('0', '1'), ('1', 'output')]
        >>> graph.nodes["1"].tau
        array([0.0002, 0.0002])
    """
    nir = load_nir()
    dt = check_dt(dt)
    if soft_reset not in SOFT_RESETS:
        raise ValueError(
            f"`soft_reset` (={soft_reset!r}) must be 'error', 'metadata' or 'subgraph'."
        )
    if not isinstance(sample_input, Tensor | list | tuple):
        raise TypeError(
            f"`sample_input` (of type {type(sample_input).__name__}) must be a tensor, or a tuple "
            "of one for each input."
        )
    inputs = (sample_input,) if isinstance(sample_input, Tensor) else tuple(sample_input)
    modes = {getattr(m, "step_mode", None) for m in net.modules()}
    if "m" in modes:
        inputs = tuple(x[0] for x in inputs)
    target = Target(nir, dt, soft_reset)
    if isinstance(net, NIRNetwork):
        twin = copy.deepcopy(net).eval()
        functional.reset_net(twin)
        functional.set_step_mode(twin, "s")
        graph = graph_of(target, twin, [tuple(x.shape[1:]) for x in inputs])
        return note_dtype(graph, net, inputs)
    gm = trace(net, len(inputs))
    functional.reset_net(gm)
    try:
        functional.set_step_mode(gm, "s")
    except ValueError as error:  # a module over whole sequences only, such as PSN
        raise ValueError(
            f"`net` has a module without steps, which NIR does not express: {error}"
        ) from error
    with torch.no_grad():
        find_shapes(gm, inputs, "sample_input")
        fuse(gm)
        functional.reset_net(gm)
        find_shapes(gm, inputs, "sample_input")
    functional.reset_net(gm)
    return note_dtype(Writer(target, gm).graph(), net, inputs)

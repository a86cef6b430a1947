"""Firing rates of a net, as a table."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from sj_core._checks import check_module
from sj_core.monitor.run import observe, refuse_no_sample
from sj_core.monitor.table import Table
from sj_core.neuron.readout import Readout
from sj_core.neuron.spiking import SpikingNode


def firing_rates(net: nn.Module, x: Tensor) -> Table:
    """Run `net` on `x` once and count the spikes of every neuron layer, readouts left out.

    Columns: `neurons` (of one sample), `rate` (spikes per neuron and step, of magnitude 1 or not),
    `spikes` (per sample, over the steps of the call), `silent` (the share of neurons, in the batch,
    that never fired). The run is in evaluation mode, without gradients, from a reset state; mode
    and state of the net are as before afterwards. A node called several times (step by step, or
    shared) counts all calls.

    Shapes: `x` is what the net takes: `(N, *)` in 's', `(T, N, *)` in 'm'.

    Errors: TypeError if `net` is no module; ValueError if it has no spiking neuron, or `x` no
    sample.

    Example:
        >>> import torch
        >>> from sj_core import monitor, neuron
        >>> net = torch.nn.Sequential(neuron.IFNode(step_mode="m"))
        >>> monitor.firing_rates(net, torch.full((4, 1, 2), 0.5))["0"]["rate"]
        0.5
    """
    check_module("net", net)
    fired: dict[str, list[Tensor]] = {}
    sizes: dict[str, tuple[int, int]] = {}

    def record(name: str, node: Any, _: Tensor, y: Tensor) -> None:
        steps = y if node.step_mode == "m" else y.unsqueeze(0)
        if steps.dim() > 1 and steps.shape[0]:
            fired.setdefault(name, []).append((steps != 0).sum(0).double())
            sizes[name] = (sizes.get(name, (0, 0))[0] + steps.shape[0], steps[0, :1].numel())

    nodes = [
        name
        for name, module in net.named_modules()
        if isinstance(module, SpikingNode) and not isinstance(module, Readout)
    ]
    if not nodes:
        raise ValueError("`net` must hold a spiking neuron of `sj_core.neuron`; it has none.")
    observe(net, x, SpikingNode, record)
    table = Table()
    for name in nodes:
        if name not in fired:
            continue
        count = torch.stack(fired[name]).sum(0)
        refuse_no_sample(x, count.shape[0])
        steps, neurons = sizes[name]
        table[name] = {
            "neurons": neurons,
            "rate": float(count.mean()) / steps,
            "spikes": float(count.sum()) / count.shape[0],
            "silent": float((count == 0).double().mean()),
        }
    return table

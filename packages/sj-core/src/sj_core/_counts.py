"""Firing rates and operation counts of a net, as tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sj_core.base import StepModule
from sj_core.functional.state import functional_forward
from sj_core.neuron.base import SpikingNode
from sj_core.neuron.readout import Readout

PJ_PER_AC = 0.9
PJ_PER_MAC = 4.6

_CONV = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_CONV_TRANSPOSE = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


class Table(dict[str, dict[str, Any]]):
    """Rows by name, columns by name: `table["layer"]["column"]`; printing aligns them.

    Example:
        >>> from sj_core.monitor import Table
        >>> print(Table({"0": {"rate": 0.25}, "fc": {"rate": 1.0}}))
        layer  rate
        0      0.25
        fc        1
    """

    def __str__(self) -> str:
        columns = list(dict.fromkeys(column for row in self.values() for column in row))
        lines = [["layer", *columns]]
        for name, row in self.items():
            lines.append([name or "(net)", *(_text(row.get(column, "")) for column in columns)])
        widths = [max(len(line[i]) for line in lines) for i in range(len(columns) + 1)]
        return "\n".join(
            "  ".join(
                cell.ljust(width) if i == 0 else cell.rjust(width)
                for i, (cell, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in lines
        )


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def firing_rates(net: nn.Module, x: Tensor) -> Table:
    """Run `net` on `x` once and count the spikes of every neuron layer, readouts left out.

    Columns: `neurons` (of one sample), `rate` (spikes per neuron and step, of magnitude 1 or not),
    `spikes` (per sample, over the steps of the call), `silent` (the share of neurons, in the batch,
    that never fired). The run is in evaluation mode, without gradients, from a reset state; mode
    and state of the net are as before afterwards. A node called several times (step by step, or
    shared) counts all calls.

    Shapes: `x` is what the net takes: `(N, *)` in 's', `(T, N, *)` in 'm'.

    Errors: ValueError if the net has no spiking neuron, or `x` no sample.

    Example:
        >>> import torch
        >>> from sj_core import monitor, neuron
        >>> net = torch.nn.Sequential(neuron.IFNode(step_mode="m"))
        >>> monitor.firing_rates(net, torch.full((4, 1, 2), 0.5))["0"]["rate"]
        0.5
    """
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
    _observe(net, x, SpikingNode, record)
    table = Table()
    for name in nodes:
        if name not in fired:
            continue
        count = torch.stack(fired[name]).sum(0)
        _refuse_no_sample(x, count.shape[0])
        steps, neurons = sizes[name]
        table[name] = {
            "neurons": neurons,
            "rate": float(count.mean()) / steps,
            "spikes": float(count.sum()) / count.shape[0],
            "silent": float((count == 0).double().mean()),
        }
    return table


def synops(net: nn.Module, x: Tensor) -> Table:
    """Run `net` on `x` once and count the operations of every convolution and linear layer.

    Columns, per sample and over the steps of the call: `input` ('spikes' where the non-zero inputs
    of the layer all have one magnitude, else 'values'), `dense` (multiply-accumulates of a dense
    layer of that size), `acs` (accumulates: for spikes, one for each weight that a spike meets),
    `macs` (multiply-accumulates: for values, all of `dense`) and `energy_pJ`, with 0.9 pJ per
    accumulate and 4.6 pJ per multiply-accumulate (45 nm). The last row, 'total', is the sum.
    How many samples there are is read from the inputs of the modules with a step mode, so a net may
    repeat a static `x` over time by itself.
    Padding meets no input and costs nothing in `acs`; biases and other layers are not counted.
    The run is that of `firing_rates`.

    Shapes: `x` is what the net takes: `(N, *)` in 's', `(T, N, *)` in 'm'.

    Source: Horowitz, "Computing's energy problem (and what we can do about it)", 2014.

    Errors: ValueError if the net has no convolution and no linear layer, or `x` no sample.

    Example:
        >>> import torch
        >>> from sj_core import layer, monitor
        >>> net = torch.nn.Sequential(layer.Linear(4, 3, step_mode="m"))
        >>> row = monitor.synops(net, torch.eye(4).view(2, 2, 4))["0"]
        >>> row["dense"], row["acs"], row["energy_pJ"]
        (24.0, 6.0, 5.4)
    """
    kinds = (nn.Linear, *_CONV, *_CONV_TRANSPOSE)
    names = [name for name, module in net.named_modules() if isinstance(module, kinds)]
    if not names:
        raise ValueError("`net` must hold a convolution or a linear layer; it has none.")
    counts: dict[str, list[tuple[bool, float, float]]] = {}

    def record(name: str, module: Any, inputs: Tensor, y: Tensor) -> None:
        counts.setdefault(name, []).append(
            (_is_spikes(inputs), _dense(module, inputs, y), _events(module, inputs))
        )

    with _batch_sizes(net) as sizes:
        _observe(net, x, kinds, record)
    samples = min(sizes, default=x.shape[0])
    _refuse_no_sample(x, samples)
    table = Table()
    for name in names:
        if name not in counts:
            continue
        spikes = all(call[0] for call in counts[name])
        dense = sum(call[1] for call in counts[name]) / samples
        acs = sum(call[2] for call in counts[name]) / samples if spikes else 0.0
        macs = 0.0 if spikes else dense
        table[name] = {"input": "spikes" if spikes else "values", "dense": dense}
        table[name].update(acs=acs, macs=macs, energy_pJ=acs * PJ_PER_AC + macs * PJ_PER_MAC)
    total: dict[str, Any] = {"input": ""}
    for column in ("dense", "acs", "macs", "energy_pJ"):
        total[column] = sum(row[column] for row in table.values())
    table["total"] = total
    return table


@contextmanager
def _batch_sizes(net: nn.Module) -> Iterator[list[int]]:
    """Collect the batch sizes that the modules with a step mode get; the least is the net's.

    Those of single steps may have the time in them: where sequences are folded into the batch.
    """
    sizes: list[int] = []

    def note(module: Any, inputs: tuple[Any, ...]) -> None:
        axis = 1 if module.step_mode == "m" else 0
        if inputs and isinstance(inputs[0], Tensor) and inputs[0].dim() > axis:
            sizes.append(inputs[0].shape[axis])

    hooks = [
        module.register_forward_pre_hook(note)
        for module in net.modules()
        if isinstance(module, StepModule)
    ]
    try:
        yield sizes
    finally:
        for hook in hooks:
            hook.remove()


def _refuse_no_sample(x: Tensor, samples: int) -> None:
    if samples == 0:
        raise ValueError(f"`x` (shape {tuple(x.shape)}) must hold at least one sample.")


def _is_spikes(x: Tensor) -> bool:
    size = x[x != 0].abs()
    return size.numel() == 0 or bool(size.min() == size.max())


def _dense(module: Any, x: Tensor, y: Tensor) -> float:
    if isinstance(module, nn.Linear):
        return float(x.numel() * module.out_features)
    per_weight = y if isinstance(module, _CONV) else x
    # Every output element (of a transposed convolution: input element) meets one kernel.
    return float(per_weight.numel() // per_weight.shape[-1 - _rank(module)] * module.weight.numel())


def _rank(module: Any) -> int:
    return module.weight.dim() - 2


def _events(module: Any, x: Tensor) -> float:
    """How many weights the non-zero elements of `x` meet."""
    active = (x != 0).to(torch.float32)
    if isinstance(module, nn.Linear):
        return float(active.sum(dtype=torch.float64)) * module.out_features
    rank = _rank(module)
    active = active.reshape(-1, *x.shape[x.dim() - rank - 1 :])
    ones = torch.ones_like(module.weight, dtype=torch.float32)
    settings = (module.stride, module.padding)
    if isinstance(module, _CONV):
        if module.padding_mode != "zeros":
            active = F.pad(active, module._reversed_padding_repeated_twice, module.padding_mode)
            settings = (module.stride, 0)
        conv = (F.conv1d, F.conv2d, F.conv3d)[rank - 1]
        met = conv(active, ones, None, *settings, module.dilation, module.groups)
    else:
        transpose = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)[rank - 1]
        more = (module.output_padding, module.groups, module.dilation)
        met = transpose(active, ones, None, *settings, *more)
    return float(met.sum(dtype=torch.float64))


def _observe(
    net: nn.Module, x: Tensor, kinds: Any, record: Callable[[str, Any, Tensor, Tensor], None]
) -> None:
    hooks = [
        module.register_forward_hook(
            lambda m, inputs, y, name=name: record(name, m, inputs[0].detach(), y.detach())
        )
        for name, module in net.named_modules()
        if isinstance(module, kinds)
    ]
    try:
        with _evaluation(net), torch.no_grad():
            functional_forward(net, None, x)
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def _evaluation(net: nn.Module) -> Iterator[None]:
    modes = [(module, module.training) for module in net.modules()]
    net.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training

"""Operations of a net and their energy, as a table."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sj_core._checks import check_module, check_tensor
from sj_core.base import StepModule
from sj_core.layer import DropConnectLinear
from sj_core.monitor.run import first_input, observe, refuse_no_sample
from sj_core.monitor.table import Table

PJ_PER_AC = 0.9
PJ_PER_MAC = 4.6

_CONV = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_CONV_TRANSPOSE = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_LINEAR = (nn.Linear, DropConnectLinear)
_KINDS = (*_LINEAR, *_CONV, *_CONV_TRANSPOSE)


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

    Errors: TypeError if `net` is no module or `x` no tensor; ValueError if the net has no
    convolution and no linear layer, or `x` no sample.

    Example:
        >>> import torch
        >>> from sj_core import layer, monitor
        >>> net = torch.nn.Sequential(layer.Linear(4, 3, step_mode="m"))
        >>> row = monitor.synops(net, torch.eye(4).view(2, 2, 4))["0"]
        >>> row["dense"], row["acs"], row["energy_pJ"]
        (24.0, 6.0, 5.4)
    """
    check_module("net", net)
    names = [name for name, module in net.named_modules() if isinstance(module, _KINDS)]
    if not names:
        raise ValueError("`net` must hold a convolution or a linear layer; it has none.")
    counts: dict[str, list[tuple[bool, float, float]]] = {}

    def record(name: str, module: Any, inputs: Tensor, y: Tensor) -> None:
        counts.setdefault(name, []).append(
            (_is_spikes(inputs), _dense(module, inputs, y), _events(module, inputs))
        )

    with _batch_sizes(net) as sizes:
        observe(net, x, _KINDS, record)
    if not sizes:
        check_tensor("x", x)
        sizes = list(x.shape[:1])
    samples = min(sizes, default=0)
    refuse_no_sample(x, samples)
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

    Those of single steps may have the time in them: where sequences are folded into the batch. An
    input without a batch, such as `(C, H, W)` of a convolution, is one sample.
    """
    sizes: list[int] = []

    def note(module: Any, inputs: tuple[Any, ...], named: dict[str, Any]) -> None:
        x = first_input(inputs, named)
        if not isinstance(x, Tensor):
            return
        if isinstance(module, _KINDS) and x.dim() == module.weight.dim() - 1:
            sizes.append(1)
        elif isinstance(module, StepModule):
            axis = 1 if module.step_mode == "m" else 0
            if x.dim() > axis:
                sizes.append(x.shape[axis])

    hooks = [
        module.register_forward_pre_hook(note, with_kwargs=True)
        for module in net.modules()
        if isinstance(module, (StepModule, *_KINDS))
    ]
    try:
        yield sizes
    finally:
        for hook in hooks:
            hook.remove()


def _is_spikes(x: Tensor) -> bool:
    size = x[x != 0].abs()
    return size.numel() == 0 or bool(size.min() == size.max())


def _dense(module: Any, x: Tensor, y: Tensor) -> float:
    if isinstance(module, _LINEAR):
        return float(x.numel() * module.out_features)
    per_weight = y if isinstance(module, _CONV) else x
    # Every output element (of a transposed convolution: input element) meets one kernel.
    return float(per_weight.numel() // per_weight.shape[-1 - _rank(module)] * module.weight.numel())


def _rank(module: Any) -> int:
    return module.weight.dim() - 2


def _events(module: Any, x: Tensor) -> float:
    """How many weights the non-zero elements of `x` meet."""
    active = (x != 0).to(torch.float32)
    if isinstance(module, _LINEAR):
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

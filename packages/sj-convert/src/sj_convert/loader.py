"""Read batches of any common form: a tensor, a tuple or list, a dict."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, fx, nn

_INPUT_NAMES = ("x", "input", "inputs", "image", "images", "data", "pixel_values", "features")
_LABEL_NAMES = ("y", "label", "labels", "target", "targets", "class")


def device_of(net: nn.Module) -> torch.device:
    """Device of the first parameter or buffer of `net`; the CPU if it has none."""
    for tensors in (net.parameters(), net.buffers()):
        for tensor in tensors:
            return tensor.device
    return torch.device("cpu")


def input_names(net: nn.Module) -> tuple[list[str], int]:
    """Names of the inputs of `net`, and how many of them it cannot do without."""
    if isinstance(net, fx.GraphModule):
        nodes = [node for node in net.graph.nodes if node.op == "placeholder"]
        return [str(node.target) for node in nodes], sum(not node.args for node in nodes)
    parameters = [
        p
        for p in inspect.signature(net.forward).parameters.values()
        if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
    ]
    return [p.name for p in parameters], sum(p.default is p.empty for p in parameters)


def inputs_of(batch: Any, names: list[str], needed: int) -> tuple[Any, ...]:
    """The inputs that a batch holds for a network with the arguments `names`."""
    if isinstance(batch, Tensor):
        return (batch,)
    if isinstance(batch, Mapping):
        if names and names[0] in batch:
            taken = []
            for name in names:
                if name not in batch:
                    break
                taken.append(batch[name])
            return tuple(taken)
        for name in _INPUT_NAMES:
            if name in batch:
                return (batch[name],)
        tensors = [v for k, v in batch.items() if isinstance(v, Tensor) and k not in _LABEL_NAMES]
        if tensors:
            return tuple(tensors[: max(needed, 1)])
    elif isinstance(batch, list | tuple) and batch and isinstance(batch[0], Tensor):
        return tuple(batch[: max(needed, 1)])
    elif isinstance(batch, list | tuple) and batch and isinstance(batch[0], list | tuple | Mapping):
        return inputs_of(batch[0], names, needed)
    raise TypeError(
        f"`dataloader` gave a batch of type {type(batch).__name__}; it must give a tensor, or a "
        "tuple, list or dict that holds one."
    )


def count_inputs(net: nn.Module, dataloader: Iterable[Any]) -> int | None:
    """How many inputs the first batch holds for `net`; None where there is no batch."""
    for batch in dataloader:
        return len(inputs_of(batch, *input_names(net)))
    return None


def check_loader(dataloader: Any) -> None:
    """`TypeError` unless `dataloader` gives batches."""
    if isinstance(dataloader, Tensor) or not isinstance(dataloader, Iterable):
        raise TypeError(
            f"`dataloader` (of type {type(dataloader).__name__}) must be a loader or list of "
            "batches; one batch is `[x]`."
        )


def label_of(batch: Any) -> Tensor:
    """The labels in a batch: the last of a tuple or list, or the entry named so of a dict."""
    found: Any = None
    if isinstance(batch, Mapping):
        found = next((batch[name] for name in _LABEL_NAMES if name in batch), None)
    elif isinstance(batch, list | tuple) and len(batch) > 1:
        found = batch[-1]
    if isinstance(found, Tensor):
        return found
    raise TypeError(
        f"`loader` gave a batch of type {type(batch).__name__} without labels; it must give "
        "`(x, y)`, or a dict with an entry 'label'."
    )


def batches(
    net: nn.Module, dataloader: Iterable[Any], device: torch.device
) -> Iterator[tuple[Any, ...]]:
    """The inputs of each batch, on `device`; `ValueError` if there is none."""
    names, needed = input_names(net)
    empty = True
    for batch in dataloader:
        inputs = inputs_of(batch, names, needed)
        empty = empty and any(isinstance(x, Tensor) and x.numel() == 0 for x in inputs)
        yield tuple(x.to(device) if isinstance(x, Tensor) else x for x in inputs)
    if empty:
        raise ValueError(
            "`dataloader` gave no batch; it must hold data, and be a loader or list and not a "
            "generator that has run out."
        )

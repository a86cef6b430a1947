"""Counting and recording the spikes of a network."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


def spiking_layers(net: nn.Module) -> dict[str, nn.Module]:
    """The neurons of a network by name, in the order of its modules."""
    return {
        name: module
        for name, module in net.named_modules()
        if hasattr(module, "surrogate_function") and hasattr(module, "step_mode")
    }


class Spikes(nn.Identity):
    """Marks a tensor as the spikes of a layer that has no module of its own for its neurons."""

    surrogate_function: nn.Module | None = None
    step_mode = "m"


def layer_titles(net: nn.Module) -> dict[str, str]:
    """A readable title for each neuron: its number, and the kind of layer that feeds it.

    Example:
        >>> from sj_core import layer, neuron
        >>> layer_titles(nn.Sequential(layer.Linear(2, 3), neuron.IFNode()))
        {'1': '1 linear'}
    """
    titles: dict[str, str] = {}
    neurons, kind = spiking_layers(net), "input"
    for name, module in net.named_modules():
        if name in neurons:
            titles[name] = f"{len(titles) + 1} {kind}"
        elif getattr(module, "weight", None) is not None and module.weight.ndim > 1:
            kind = "conv" if module.weight.ndim > 2 else "linear"
    return titles


def _spikes(output: Any) -> Tensor:
    # Neurons with a trace return the pair (spike, trace) in training.
    spikes = output[0] if isinstance(output, tuple) else output
    return spikes.detach()


class RateMeter:
    """Mean firing rate of all neurons, each counted once, since the last `take`.

    The rate is the number of spikes over the number of neurons and time steps.
    """

    def __init__(self, net: nn.Module) -> None:
        self._counts: list[tuple[Tensor, int]] = []
        self._handles = [
            module.register_forward_hook(self._count) for module in spiking_layers(net).values()
        ]

    def _count(self, module: nn.Module, args: Any, output: Any) -> None:
        spikes = _spikes(output)
        self._counts.append((spikes.sum(dtype=torch.float32), spikes.numel()))

    def take(self) -> Tensor:
        """The rate since the last call, 0 for a network without neurons."""
        counts, self._counts = self._counts, []
        if not counts:
            return torch.zeros(())
        total = torch.stack([spikes for spikes, _ in counts]).sum()
        return total / max(1, sum(size for _, size in counts))

    def remove(self) -> None:
        """Takes the hooks off the network."""
        for handle in self._handles:
            handle.remove()


@contextmanager
def record_spikes(net: nn.Module) -> Iterator[dict[str, list[Tensor]]]:
    """Collects what every neuron returns inside the block, by layer: pieces `[t, N, *]`."""
    records: dict[str, list[Tensor]] = {name: [] for name in spiking_layers(net)}

    def keeper(name: str) -> Any:
        def keep(module: Any, args: Any, output: Any) -> None:
            spikes = _spikes(output).cpu()
            records[name].append(spikes if module.step_mode == "m" else spikes.unsqueeze(0))

        return keep

    layers = spiking_layers(net).items()
    handles = [module.register_forward_hook(keeper(name)) for name, module in layers]
    try:
        # Hooks that keep what they see would be compiled anew for every layer.
        with torch.compiler.set_stance("force_eager"):
            yield records
    finally:
        for handle in handles:
            handle.remove()


def as_sequence(records: list[Tensor]) -> Tensor:
    """`[T, N, *]` of one layer's records: one call over a sequence, or one call per step."""
    return records[0] if len(records) == 1 else torch.cat(records)

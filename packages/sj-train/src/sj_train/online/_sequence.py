"""What the training functions share: checks, memories, buffers and random streams."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from sj_core.base import MemoryModule, StepModule, map_tensors


def check_single_step(model: nn.Module) -> None:
    """Raise `ValueError` if `model`, or a member of it where it is sequential, takes sequences."""
    chain = [model, *(model if type(model) is nn.Sequential else ())]
    for module in chain:
        if isinstance(module, StepModule) and module.step_mode != "s":
            raise ValueError(
                f"`model` must take single steps, but the step mode of {type(module).__name__} is "
                f"{module.step_mode!r}; call `functional.set_step_mode(model, 's')`."
            )


def check_lengths(x_seq: Any, target_seq: Any, axes: int, layout: str) -> None:
    """Raise `ValueError` unless both tensors agree in their first `axes` axes, with T > 0."""
    x_shape, target_shape = tuple(x_seq.shape), tuple(target_seq.shape)
    if len(x_shape) < axes or x_shape[:axes] != target_shape[:axes]:
        raise ValueError(
            f"`x_seq` and `target_seq` (shapes {x_shape} and {target_shape}) must both begin with "
            f"{layout}."
        )
    if 0 in x_shape[:axes]:
        raise ValueError(f"`x_seq` (shape {x_shape}) must hold at least one sample and time step.")


def _memory_modules(model: nn.Module) -> Iterator[MemoryModule]:
    return (module for module in model.modules() if isinstance(module, MemoryModule))


def _copy(x: Tensor) -> Tensor:
    return x.detach().clone()


class Memories:
    """The memories of a model at one moment: detached copies."""

    def __init__(self, model: nn.Module) -> None:
        self._kept = [
            (module, name, map_tensors(_copy, getattr(module, name)))
            for module in _memory_modules(model)
            for name in module._memory_reset_values
        ]

    def restore(self) -> None:
        """Give every memory its value of that moment."""
        for module, name, value in self._kept:
            setattr(module, name, map_tensors(_copy, value))


class Surroundings:
    """
    What a forward moves on besides memories: buffers and random streams.

    Buffers are copied, for a forward changes them in place; a generator is one of torch's own (the
    CPU's and those of the devices in use) or an attribute of a module.
    """

    def __init__(self, model: nn.Module, *tensors: Tensor) -> None:
        self._buffers = [
            (module, name, buffer, buffer.detach().clone())
            for module in model.modules()
            for name, buffer in module._buffers.items()
            if buffer is not None
        ]
        used = [*tensors, *model.parameters(), *(b for _, _, b, _ in self._buffers)]
        devices = {x.device for x in used if x.device.type == "cuda"}
        self._cpu = torch.get_rng_state()
        self._cuda = [(device, torch.cuda.get_rng_state(device)) for device in devices]
        self._generators = [
            (value, value.get_state())
            for module in model.modules()
            for value in vars(module).values()
            if isinstance(value, torch.Generator)
        ]

    @torch.no_grad()
    def restore(self) -> None:
        """Put buffers and random streams back to that moment."""
        for module, name, buffer, value in self._buffers:
            buffer.copy_(value)
            module._buffers[name] = buffer
        torch.set_rng_state(self._cpu)
        for device, state in self._cuda:
            torch.cuda.set_rng_state(state, device)
        for generator, state in self._generators:
            generator.set_state(state)

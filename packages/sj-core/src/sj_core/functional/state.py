"""The state of a net as a value: read it, write it, run the net as a pure function of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor, nn
from torch.compiler import is_compiling

from sj_core._checks import check_module
from sj_core.base import MemoryModule, map_tensors

State = dict[str, Any]


def named_memories(net: nn.Module) -> Iterator[tuple[str, Any]]:
    """Yield the dotted name and the value of every memory in ``net``.

    A memory that no forward has materialised yet is its reset value, a number or None.

    >>> import torch
    >>> from sj_core import functional, neuron
    >>> net = torch.nn.Sequential(torch.nn.Linear(2, 2), neuron.IFNode())
    >>> dict(functional.named_memories(net))
    {'1.v': 0.0}
    """
    for path, module, name in _memories(net):
        yield (f"{path}.{name}" if path else name), getattr(module, name)


def get_state(net: nn.Module) -> State:
    """The state of ``net``: dotted name to value, of the memories that hold one.

    A fresh or freshly reset net gives ``{}``. The tensors are the net's own, with their graph;
    a step of the net replaces them and never writes into them, so a state stays what it was.
    A memory that is a list (tuple, dict) of tensors comes as one.

    >>> import torch
    >>> from sj_core import functional, neuron
    >>> net = torch.nn.Sequential(neuron.IFNode())
    >>> functional.get_state(net)
    {}
    >>> _ = net(torch.tensor([0.25]))
    >>> functional.get_state(net)
    {'0.v': tensor([0.2500])}
    """
    state: State = {}
    for path, module, name in _memories(net):
        if module.holds_state(name):
            value = map_tensors(_same, getattr(module, name))
            state[f"{path}.{name}" if path else name] = value
    return state


def set_state(net: nn.Module, state: Mapping[str, Any] | None) -> None:
    """Give ``net`` the state that :func:`get_state` read; ``{}`` or None resets it.

    Memories that ``state`` does not name are reset.

    Raises ``TypeError`` if ``state`` is no mapping, ``ValueError`` if it names a memory that the
    net has not; then nothing has changed.

    >>> import torch
    >>> from sj_core import functional, neuron
    >>> net = torch.nn.Sequential(neuron.IFNode())
    >>> functional.set_state(net, {"0.v": torch.tensor([0.75])})
    >>> net(torch.tensor([0.25]))
    tensor([1.])
    """
    state = {} if state is None else state
    if not isinstance(state, Mapping):
        raise TypeError(f"`state` (a {type(state).__name__}) must be a dict of dotted names.")
    memories = list(_memories(net))
    known = {f"{path}.{name}" if path else name for path, _, name in memories}
    unknown = [name for name in state if name not in known]
    if unknown:
        raise ValueError(
            f"`state` names {', '.join(f'`{name}`' for name in unknown)}, but the memories of this "
            f"net are {', '.join(f'`{name}`' for name in sorted(known)) or 'none'}: take a state "
            "that `functional.get_state` read from a net of the same structure."
        )
    for module in {id(module): module for _, module, _ in memories}.values():
        module.reset()
    for path, module, name in memories:
        key = f"{path}.{name}" if path else name
        if key in state:
            setattr(module, name, map_tensors(_same, state[key]))


def functional_forward(
    net: nn.Module, state: Mapping[str, Any] | None, x: Any
) -> tuple[Any, State]:
    """``net`` as a pure function: ``(y, new_state)`` of the state and the input.

    ``state`` None or ``{}`` starts from reset. The net's own state is the same before and after
    the call, so it can be differentiated (:func:`torch.func.grad`), mapped over a stack of states
    (:func:`torch.vmap`), compiled, and recomputed by activation checkpointing without advancing
    the state twice. Parameters are the net's; buffers, such as the statistics of a batch
    normalisation in training, are updated as by an ordinary forward.

    Shapes: those of ``net(x)`` in its step mode. Raises what :func:`set_state` and the net raise.

    >>> import torch
    >>> from sj_core import functional, neuron
    >>> net = neuron.IFNode()
    >>> x = torch.tensor([0.5])
    >>> spike, state = functional.functional_forward(net, None, x)
    >>> spike, state = functional.functional_forward(net, state, x)
    >>> spike, state, net.v
    (tensor([1.]), {'v': tensor([0.])}, 0.0)
    """
    check_module("net", net)
    kept: list[tuple[nn.Module, str, Any]] = [
        (module, name, getattr(module, name)) for _, module, name in _memories(net)
    ]
    # The record of the voltages is no memory, but must not outlive a transformed call either.
    kept += [(m, "v_seq", m.v_seq) for m in net.modules() if "v_seq" in m.__dict__]
    if not is_compiling():  # nor the mark of what a forward left, which no compiled one sets
        kept += [(m, "_left", m._left) for m in net.modules() if isinstance(m, MemoryModule)]
    try:
        set_state(net, state)
        y = net(x)
        return y, get_state(net)
    finally:
        for module, name, value in kept:
            setattr(module, name, value)


def _memories(net: nn.Module) -> Iterator[tuple[str, MemoryModule, str]]:
    check_module("net", net)
    for path, module in net.named_modules():
        if isinstance(module, MemoryModule):
            for name in module._memory_reset_values:
                yield path, module, name


def _same(x: Tensor) -> Tensor:
    """Through ``map_tensors``: copies the lists around tensors and shares the tensors."""
    return x

"""A forward that runs again within a backward must not start from the state that the first left.

Activation checkpointing does so: it calls what it wraps once more while autograd is at work. A
state that advances is then that of the end, not that of the start, and the gradients are wrong.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import torch

_is_compiling = torch.compiler.is_compiling

#: The number of the backward that runs in this thread, -1 outside of any.
backward_at_work: Callable[[], int] = torch._C._current_graph_task_id
_node_at_work: Callable[[], Any] = torch._C._current_autograd_node


def guarded(step: Callable[..., Any], module: Any, *args: Any, **kwargs: Any) -> Any:
    """``step(*args, **kwargs)``, a forward of ``module``, unless it recomputes from a stale state.

    Raises ``RuntimeError`` that names the state and the cure.

    >>> import torch
    >>> from sj_core.base import MemoryModule, guarded
    >>> guarded(torch.neg, MemoryModule(), torch.ones(1))
    tensor([-1.])
    """
    task = backward_at_work()
    if task != -1:
        refuse_recompute(module, task)
    try:
        return step(*args, **kwargs)
    finally:  # checkpointing stops a recomputation by an exception as soon as it has enough
        mark_left(module)


def mark_left(module: Any) -> None:
    """Remember the state of ``module`` as what its last forward left.

    The very objects are kept: another tensor may get the ``id`` of one that is gone. A native call
    keeps the first memory alone, outside of a tuple.

    >>> from sj_core import neuron
    >>> from sj_core.base import mark_left
    >>> node = neuron.IFNode()
    >>> mark_left(node)
    >>> node._left
    (0.0,)
    """
    values = [getattr(module, name, None) for name in module._memory_reset_values]
    module.__dict__["_left"] = tuple(values)


def is_left(module: Any) -> bool:
    """Whether the state of ``module`` is what its last forward left: no memory has been set since.

    >>> from sj_core import neuron
    >>> from sj_core.base import is_left, mark_left
    >>> node = neuron.IFNode()
    >>> mark_left(node)
    >>> node.v = 0.5
    >>> is_left(node)
    False
    """
    left = module.__dict__.get("_left")
    if left is None:
        return False
    values = left if isinstance(left, tuple) else (left,)
    pairs = zip(module._memory_reset_values, values, strict=False)
    return all(getattr(module, name, None) is value for name, value in pairs)


def refuse_recompute(module: Any, task: int) -> None:
    """Raise ``RuntimeError`` if the state is what a forward left that is not being recomputed now.

    One that was set since, by a reset or by hand, is taken: so works ``functional_forward``. So is
    one that goes on from call to call within one recomputation. A backward recomputes several
    functions one after the other, each for one node of its graph.

    >>> from sj_core import neuron
    >>> from sj_core.base import refuse_recompute
    >>> refuse_recompute(neuron.IFNode(), 0)
    """
    if not _begins_here(module, task):
        return
    held = _left_memories(module)
    if held:
        raise RuntimeError(_message(module, held[0]))
    module.__dict__["_recomputed_in"] = _place(task)


def guard_own_forward(cls: Any) -> None:
    """Guard the `forward` that ``cls`` defines itself, and which need not call the base's.

    Only the first read of a state that an earlier forward left is refused: what resets the state,
    or sets it, before it reads it is right.

    >>> import torch
    >>> from torch.utils.checkpoint import checkpoint
    >>> from sj_core.base import MemoryModule
    >>> class Total(MemoryModule):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.register_memory("total", 0.0)
    ...
    ...     def forward(self, x):
    ...         self.total = self.total + x
    ...         return self.total**2
    >>> y = checkpoint(Total(), torch.ones(1, requires_grad=True), use_reentrant=False)
    >>> try:
    ...     y.backward()
    ... except RuntimeError as error:
    ...     print(str(error)[:58])
    `total` of Total is what an earlier forward left, but this
    """
    own = cls.__dict__.get("forward")
    if not inspect.isfunction(own) or hasattr(own, "_is_guarded"):
        return

    @functools.wraps(own)
    def forward(self: Any, *args: Any, **kwargs: Any) -> Any:
        if _is_compiling():
            return own(self, *args, **kwargs)
        task = backward_at_work()
        hidden: dict[str, Any] = {}
        if task != -1 and _begins_here(self, task):
            hidden = {name: self.__dict__.pop(name) for name in _left_memories(self)}
            self.__dict__["_recomputed_in"] = _place(task)
        try:
            return own(self, *args, **kwargs)
        except AttributeError as error:
            for name in hidden:
                if name not in self.__dict__ and f"'{name}'" in str(error):
                    raise RuntimeError(_message(self, name)) from None
            raise
        finally:
            for name, value in hidden.items():
                self.__dict__.setdefault(name, value)
            mark_left(self)

    forward._is_guarded = True  # type: ignore[attr-defined]
    cls.forward = forward


def _place(task: int) -> tuple[int, int | None]:
    """The backward and the node of its graph that are at work."""
    node = _node_at_work()
    return task, None if node is None else node._sequence_nr()


def _begins_here(module: Any, task: int) -> bool:
    """Whether a recomputation of ``module`` begins: it has run none at this place."""
    at_work = module.__dict__.get("_recomputed_in") == _place(task)
    return torch.is_grad_enabled() and not at_work


def _left_memories(module: Any) -> list[str]:
    """The memories that hold a state, if an earlier forward has left them as they are."""
    if not is_left(module):
        return []
    return [name for name in module._memory_reset_values if module.holds_state(name)]


def _message(module: Any, name: str) -> str:
    return (
        f"`{name}` of {type(module).__name__} is what an earlier forward left, but this forward "
        "runs within a backward, as activation checkpointing recomputes it: gradients would be "
        "wrong. Checkpoint `functional.functional_forward(net, state, x)` instead, or call "
        "`functional.reset_net(net)` first in the function that is checkpointed."
    )

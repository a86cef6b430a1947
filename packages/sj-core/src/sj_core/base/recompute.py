"""A forward that runs again within a backward must not start from the state that the first left.

Activation checkpointing does so: it calls what it wraps once more while autograd is at work. A
state that advances is then that of the end, not that of the start, and the gradients are wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

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
    node = _node_at_work()
    here = (task, None if node is None else node._sequence_nr())
    own = module.__dict__
    if own.get("_recomputed_in") == here or not torch.is_grad_enabled():
        return
    if is_left(module):
        held = [name for name in module._memory_reset_values if module.holds_state(name)]
        if held:
            raise RuntimeError(
                f"`{held[0]}` of {type(module).__name__} is what an earlier forward left, but this "
                "forward runs within a backward, as activation checkpointing recomputes it: "
                "gradients would be wrong. Checkpoint `functional.functional_forward(net, state, "
                "x)` instead, or call `functional.reset_net(net)` first in the function that is "
                "checkpointed."
            )
    own["_recomputed_in"] = here

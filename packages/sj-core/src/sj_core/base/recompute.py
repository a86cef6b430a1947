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
    y = step(*args, **kwargs)
    for name in module._memory_reset_values:
        module.__dict__["_left"] = id(module.__dict__.get(name))
        break
    return y


def refuse_recompute(module: Any, task: int) -> None:
    """Raise ``RuntimeError`` if the first memory is what a forward left outside this backward.

    One that was set within it, or by another hand, is taken: so works ``functional_forward``.

    >>> from sj_core import neuron
    >>> from sj_core.base import refuse_recompute
    >>> refuse_recompute(neuron.IFNode(), 0)
    """
    own = module.__dict__
    if own.get("_recomputed_in") == task or not torch.is_grad_enabled():
        return
    for name in module._memory_reset_values:
        if own.get("_left") == id(own.get(name)) and module.holds_state(name):
            raise RuntimeError(
                f"`{name}` of {type(module).__name__} is what an earlier forward left, but this "
                "forward runs within a backward, as activation checkpointing recomputes it: "
                "gradients would be wrong. Checkpoint `functional.functional_forward(net, state, "
                "x)` instead, or call `functional.reset_net(net)` first in the function that is "
                "checkpointed."
            )
        break
    own["_recomputed_in"] = task

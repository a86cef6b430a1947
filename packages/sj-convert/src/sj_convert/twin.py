"""A copy of a network that does not notice what watches the original."""

from __future__ import annotations

import copy
from typing import Any

from torch import Tensor, nn

_HOOKS = {
    *("_forward_hooks", "_forward_hooks_with_kwargs", "_forward_hooks_always_called"),
    *("_forward_pre_hooks", "_forward_pre_hooks_with_kwargs"),
    *("_backward_hooks", "_backward_pre_hooks"),
}


def copy_of(ann: nn.Module) -> nn.Module:
    """A deep copy of `ann`, whatever activations it keeps, without the hooks of others.

    Example:
        >>> net = nn.Linear(2, 1)
        >>> handle = net.register_forward_hook(print)
        >>> len(copy_of(net)._forward_hooks)
        0
    """
    # Tensors with a graph, such as activations that a forward keeps, cannot be deep-copied.
    memo: dict[int, Any] = {}

    def note(value: Any) -> None:
        if isinstance(value, Tensor) and not value.is_leaf:
            memo[id(value)] = value.detach().clone()
        elif isinstance(value, dict):
            for item in value.values():
                note(item)
        elif isinstance(value, list | tuple):
            for item in value:
                note(item)

    for module in ann.modules():
        note(vars(module))
    for module in ann.modules():
        _without_hooks(module, memo)
    return copy.deepcopy(ann, memo)


def _without_hooks(module: nn.Module, memo: dict[int, Any]) -> None:
    """Let a copy of `module` have no hooks but those of torch that compute its weights.

    The others watch the original, and a recorder they belong to may not be copyable at all.
    """
    found = {name: value for name, value in vars(module).items() if name in _HOOKS and value}
    kept = {
        key: hook
        for hooks in found.values()
        for key, hook in hooks.items()
        if type(hook).__module__.startswith("torch.nn.utils.")  # weight_norm, pruning and such
    }
    for hooks in found.values():
        memo[id(hooks)] = type(hooks)(
            (key, copy.deepcopy(hook, memo)) for key, hook in hooks.items() if key in kept
        )

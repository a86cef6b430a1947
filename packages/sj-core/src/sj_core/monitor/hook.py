"""The hooks of monitors, which stay with the module that they were put on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class MonitorHook:
    """Calls `note` with what a hook is called with, and returns nothing.

    A copy or a pickle of the module takes its hooks along; there they do nothing, so that a copy
    does not write into the records of the monitor, and a monitored module can be pickled.

    Example:
        >>> import copy
        >>> from sj_core.monitor.hook import MonitorHook
        >>> seen = []
        >>> hook = MonitorHook(seen.append)
        >>> hook(1), copy.deepcopy(hook)(2), seen
        (None, None, [1])
    """

    def __init__(self, note: Callable[..., Any]) -> None:
        self.note = note

    def __call__(self, *args: Any) -> None:
        self.note(*args)

    def __reduce__(self) -> tuple[Any, ...]:
        return MonitorHook, (_nothing,)


def _nothing(*args: Any) -> None:
    pass

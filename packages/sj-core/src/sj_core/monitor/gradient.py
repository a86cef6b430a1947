"""Monitors of what flows back through the modules of a net."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from sj_core.base import map_tensors
from sj_core.monitor.hook import MonitorHook
from sj_core.monitor.recording import BaseMonitor, unpack


class GradInputMonitor(BaseMonitor):
    """Records the gradient of the input of every module of a class, at each backward.

    Backward runs from the last module (and the last step) to the first: so are the records.

    Example:
        >>> import torch
        >>> from sj_core import monitor
        >>> net = torch.nn.Linear(2, 1, bias=False)
        >>> _ = torch.nn.init.ones_(net.weight)
        >>> gradients = monitor.GradInputMonitor(net)
        >>> net(torch.ones(1, 2, requires_grad=True)).sum().backward()
        >>> gradients.records
        [tensor([[1., 1.]])]
    """

    def _hook(self, name: str, module: nn.Module) -> Any:
        hook = MonitorHook(lambda m, g_in, g_out: self._record(name, unpack(g_in)))
        return module.register_full_backward_hook(hook)


class GradOutputMonitor(BaseMonitor):
    """Records the gradient of the output of every module of a class, at each backward.

    Backward runs from the last module (and the last step) to the first: so are the records.

    Example:
        >>> import torch
        >>> from sj_core import monitor
        >>> net = torch.nn.Linear(2, 1)
        >>> gradients = monitor.GradOutputMonitor(net)
        >>> net(torch.ones(1, 2)).sum().backward()
        >>> gradients.records
        [tensor([[1.]])]
    """

    def _hook(self, name: str, module: nn.Module) -> Any:
        # On the tensor and not on the module: it also works where no input needs a gradient.
        def on_output(m: nn.Module, x: Any, y: Any) -> None:
            def watch(output: Tensor) -> Tensor:
                if output.requires_grad and torch.is_grad_enabled():
                    output.register_hook(lambda g: self._record(name, g))
                return output

            map_tensors(watch, y)

        return module.register_forward_hook(MonitorHook(on_output))

"""Monitors: hooks on the modules of a net, and what they have recorded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from sj_core import _native
from sj_core._checks import check_classes, check_module
from sj_core.monitor.hook import MonitorHook
from sj_core.neuron.spiking import SpikingNode

Instance = type | tuple[type, ...] | None


def identity(x: Any) -> Any:
    """Return `x`.

    Example:
        >>> from sj_core.monitor import identity
        >>> identity(3)
        3
    """
    return x


class BaseMonitor:
    """What the monitors share: hooks on the modules of a class, and the records.

    `instance` is a class or a tuple of them; None stands for the class of `net` itself.
    `records` is the list of all records, in order; `monitored_layers` the names of the modules.
    `monitor[i]` is the i-th record, `monitor["name"]` the list of those of one module. A `with`
    block removes the hooks at its end. Records hold what `function` returns: pass, for example,
    `torch.Tensor.detach`, where the graph need not be kept.

    Errors: ValueError if no module is of the class; KeyError or IndexError for an unknown name or
    position; TypeError for a `net`, `instance` or `function` of another type.

    Example:
        >>> import torch
        >>> from sj_core import monitor, neuron
        >>> net = torch.nn.Sequential(torch.nn.Linear(2, 3), neuron.IFNode())
        >>> with monitor.OutputMonitor(net, neuron.IFNode) as spikes:
        ...     out = net(torch.ones(1, 2))
        >>> spikes.monitored_layers, torch.equal(spikes["1"][0], out)
        (['1'], True)
    """

    def __init__(
        self, net: nn.Module, instance: Instance = None, function: Callable[[Any], Any] = identity
    ) -> None:
        check_module("net", net)
        classes: Any = type(net) if instance is None else instance
        check_classes("instance", classes)
        if not callable(function):
            raise TypeError(f"`function` (={function!r}) must be callable, as `function(record)`.")
        self.function = function
        self.records: list[Any] = []
        self.monitored_layers: list[str] = []
        self._positions: dict[str, list[int]] = {}
        self._hooks: list[Any] = []
        self._enabled = True
        self._nodes = [module for module in net.modules() if isinstance(module, SpikingNode)]
        for name, module in net.named_modules():
            if isinstance(module, classes):
                self.monitored_layers.append(name)
                self._positions[name] = []
                self._hooks.append(self._hook(name, module))
        if not self.monitored_layers:
            raise ValueError(
                f"`instance` (={instance!r}) must be the class of a module of the net; none is."
            )
        _native.choose_again(self._nodes)

    def _hook(self, name: str, module: nn.Module) -> Any:
        raise NotImplementedError(f"{type(self).__name__} must define `_hook(name, module)`.")

    def _record(self, name: str, value: Any) -> None:
        if self._enabled:
            self._positions[name].append(len(self.records))
            self.records.append(self.function(value))

    def __getitem__(self, key: int | str) -> Any:
        if isinstance(key, str):
            if key not in self._positions:
                raise KeyError(f"`key` (={key!r}) must be one of {self.monitored_layers}.")
            return [self.records[i] for i in self._positions[key]]
        try:
            return self.records[key]
        except IndexError:
            raise IndexError(f"`key` (={key}): there are {len(self)} records.") from None

    def __len__(self) -> int:
        return len(self.records)

    def clear_recorded_data(self) -> None:
        """Forget all records."""
        self.records.clear()
        for positions in self._positions.values():
            positions.clear()

    def enable(self) -> None:
        """Record from now on (so it is at first)."""
        self._enabled = True

    def disable(self) -> None:
        """Record nothing until `enable()`."""
        self._enabled = False

    def is_enable(self) -> bool:
        """Whether calls are recorded."""
        return self._enabled

    def remove_hooks(self) -> None:
        """Let go of the net; the records stay."""
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()
        _native.choose_again(self._nodes)
        self._nodes.clear()

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *error: object) -> None:
        self.remove_hooks()


class OutputMonitor(BaseMonitor):
    """Records the output of every module of a class, at each call.

    Example:
        >>> import torch
        >>> from sj_core import monitor, neuron
        >>> node = neuron.IFNode()
        >>> outputs = monitor.OutputMonitor(node)
        >>> _ = node(torch.ones(2))
        >>> outputs.records
        [tensor([1., 1.])]
    """

    def _hook(self, name: str, module: nn.Module) -> Any:
        return module.register_forward_hook(MonitorHook(lambda m, x, y: self._record(name, y)))


class InputMonitor(BaseMonitor):
    """Records the input (a tuple, if there are several) of every module of a class.

    Inputs that are handed over by name come after the others.

    Example:
        >>> import torch
        >>> from sj_core import monitor, neuron
        >>> node = neuron.IFNode()
        >>> inputs = monitor.InputMonitor(node)
        >>> _ = node(torch.ones(2))
        >>> inputs[0]
        tensor([1., 1.])
    """

    def _hook(self, name: str, module: nn.Module) -> Any:
        def record(m: nn.Module, x: tuple[Any, ...], named: dict[str, Any]) -> None:
            self._record(name, unpack((*x, *named.values())))

        return module.register_forward_pre_hook(MonitorHook(record), with_kwargs=True)


class AttributeMonitor(BaseMonitor):
    """Records the attribute `attribute_name` of every module of a class, before or after its call.

    Errors: those of `BaseMonitor`; AttributeError at the call if a module has no such attribute.

    Example:
        >>> import torch
        >>> from sj_core import monitor, neuron
        >>> node = neuron.IFNode()
        >>> voltage = monitor.AttributeMonitor("v", False, node)
        >>> _ = node(torch.full((2,), 0.25))
        >>> voltage.records
        [tensor([0.2500, 0.2500])]
    """

    def __init__(
        self,
        attribute_name: str,
        pre_forward: bool,
        net: nn.Module,
        instance: Instance = None,
        function: Callable[[Any], Any] = identity,
    ) -> None:
        self.attribute_name = attribute_name
        self.pre_forward = pre_forward
        super().__init__(net, instance, function)

    def _hook(self, name: str, module: nn.Module) -> Any:
        def record(m: nn.Module, *_: Any) -> None:
            self._record(name, getattr(m, self.attribute_name))

        if self.pre_forward:
            return module.register_forward_pre_hook(MonitorHook(record))
        return module.register_forward_hook(MonitorHook(record))


def unpack(values: Any) -> Any:
    return values[0] if isinstance(values, tuple) and len(values) == 1 else values

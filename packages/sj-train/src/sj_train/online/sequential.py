"""A sequence of modules that passes traces on beside the spikes."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from sj_core.base import MemoryModule, SingleModule
from sj_core.neuron import BaseNode
from sj_train.online.neuron import OTTTLIFNode
from sj_train.online.trace import TraceMode

# Modules that only reshape or average: their trace is made from that of their input.
_LINEAR = (
    nn.Identity,
    nn.Flatten,
    nn.Unflatten,
    nn.modules.pooling._AvgPoolNd,
    nn.AdaptiveAvgPool1d,
    nn.AdaptiveAvgPool2d,
    nn.AdaptiveAvgPool3d,
    nn.Upsample,
    nn.modules.padding._ConstantPadNd,
)


class OTTTSequential(nn.Sequential, SingleModule, MemoryModule):
    r"""
    `nn.Sequential` for OTTT: it takes the pair (spike, trace) from each `OTTTLIFNode` to the next
    module with weights.

    That module has its value from the spikes and the gradient of its weights from the trace,

    .. math:: dW = \sum_t g_u[t]\, a[t]^T, \qquad db = \sum_t g_u[t], \qquad
        g_s[t] = W^T g_u[t]

    It runs once per step, so that the statistics of a BatchNorm move once. Modules without
    weights between the two (pooling, flattening, dropout) hand on the trace of their own output,
    :math:`a[t] = (1 - 1/\tau) a[t-1] + y[t]` with the `tau` of the node before; for linear ones
    this is the same operation applied to the trace. Nested `nn.Sequential`s are walked through.

    Args:
        *modules: as for `nn.Sequential`.
        input_trace: trace the input of the first layer too, with the `tau` of the first
            `OTTTLIFNode`, if it is no pair.

    Shapes: one step `(N, *)` in, or the tuple (spike, trace); the last spike alone out. It only
    takes single steps; traces are memories, so `reset_net` clears them.

    Raises:
        ValueError: `input_trace` without an `OTTTLIFNode`; `step_mode='m'`.

    Source: Xiao et al., Online Training Through Time for Spiking Neural Networks (2022).

    Example:
        >>> import torch
        >>> net = OTTTSequential(nn.Linear(8, 4), OTTTLIFNode(), nn.Linear(4, 2))
        >>> net(torch.rand(5, 8)).shape
        torch.Size([5, 2])
    """

    def __init__(self, *modules: Any, input_trace: bool = False) -> None:
        super().__init__(*modules)
        self.input_trace = bool(input_trace)
        self.register_memory("trace_of_input", 0.0)

    def add_module(self, name: str, module: nn.Module | None) -> None:
        """Add a module, and a memory for the trace of each weightless one in it."""
        super().add_module(name, module)
        # Before any forward, so that `functional.set_state` finds them in a fresh net.
        for path, child in _walk(self):
            weightless = next(child.parameters(), None) is None
            if weightless and not isinstance(child, (BaseNode, *_LINEAR)):
                self._register_trace(_memory_of(path))

    def forward(self, x: Any) -> Tensor:
        """Return the output of one step."""
        value, trace = _split(x)
        if not self.training:
            trace = None
        children = list(_walk(self))
        decay = next(
            (n.trace_decay for m in self for n in m.modules() if isinstance(n, OTTTLIFNode)), None
        )
        if self.input_trace and self.training and trace is None:
            if decay is None:
                raise ValueError(
                    "`input_trace` (=True) needs an OTTTLIFNode, whose `tau` the trace decays with."
                )
            trace = self._next_trace("trace_of_input", decay, value)
        for name, module in children:
            value, trace = self._run(name, module, value, trace, decay)
            nodes = [m for m in module.modules() if isinstance(m, OTTTLIFNode)]
            if nodes:
                decay = nodes[-1].trace_decay
        return value

    def _run(
        self, name: str, module: nn.Module, value: Tensor, trace: Tensor | None, decay: float | None
    ) -> tuple[Tensor, Tensor | None]:
        if trace is None or isinstance(module, BaseNode):
            return _split(module(value))
        mode = TraceMode(value, trace)
        with mode:
            result = module(value)
        if isinstance(result, tuple | list):
            return _split(result)
        passed_on = mode.trace_of(result)
        if passed_on is not None:
            return result, passed_on
        if next(module.parameters(), None) is not None:
            if not mode.touched:
                warnings.warn(
                    f"{type(module).__name__} `{name}` has parameters but calls no linear, "
                    "convolution or normalisation function on the spikes it is given, so their "
                    "gradients come from the spikes and not from the trace; split it up, or build "
                    "it on OTTTSequential.",
                    stacklevel=3,
                )
            return result, None
        if decay is None:
            return result, None
        return result, self._next_trace(_memory_of(name), decay, result)

    def _register_trace(self, memory: str) -> None:
        if memory not in self._memory_reset_values:
            self.register_memory(memory, 0.0)

    def _next_trace(self, memory: str, decay: float, x: Tensor) -> Tensor:
        self._register_trace(memory)
        with torch.no_grad():
            trace = torch.add(x, self.memory_like(memory, x), alpha=decay)
        setattr(self, memory, trace)
        return trace.to(x.dtype)

    def extra_repr(self) -> str:
        """Give the settings that are no modules."""
        return f"input_trace={self.input_trace}"


def _memory_of(path: str) -> str:
    return f"trace_of_{path.replace('.', '_')}"


def _walk(sequential: nn.Sequential, prefix: str = "") -> Iterator[tuple[str, nn.Module]]:
    for name, module in sequential._modules.items():
        if isinstance(module, nn.Sequential) and type(module) in (nn.Sequential, OTTTSequential):
            yield from _walk(module, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", module


def _split(result: Any) -> tuple[Tensor, Tensor | None]:
    return (result[0], result[1]) if isinstance(result, tuple | list) else (result, None)

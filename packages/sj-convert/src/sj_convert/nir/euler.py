"""NIR's neurons by forward Euler, with a value per neuron for every parameter."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from sj_convert.modules import channel_view
from sj_core.base import MemoryModule, StepModule, state_dtype
from sj_core.neuron import BaseNode


def as_buffer(value: Any) -> Tensor:
    """`value` as a tensor of float64; what holds it is rounded once, by ``.to(dtype)``."""
    return torch.as_tensor(value, dtype=torch.float64)


class EulerNode(BaseNode):
    r"""A neuron of NIR, stepped by forward Euler.

    * leak: ``H = V + (dt/tau)((v_leak - V) + r I)``; without a `leak_rate` ``H = V + dt r I``
    * current: I is the input, or, with a `current_rate`, first
      ``I <- I + (dt/tau_syn)(w_in X - I)`` (the neuron sees the new current)
    * fire at ``H >= v_threshold`` and reset to `v_reset`, or by subtraction where it is None; a
      neuron without threshold puts out H

    V starts at rest, `start`. Parameters are numbers or tensors of one value per neuron.

    Shapes: ``(N, *)`` ('s') or ``(T, N, *)`` ('m') in and out.

    Args:
        leak_rate: dt/tau, or None.
        gain: r for a leaky neuron, dt r for others.

    Example:
        >>> node = EulerNode(leak_rate=0.5, gain=2.0, v_threshold=1.0, step_mode="m")
        >>> node(torch.full((3, 1), 0.6)).flatten().tolist()
        [0.0, 0.0, 1.0]
    """

    native_name: ClassVar[str | None] = None
    leak_rate: Tensor | None
    current_rate: Tensor | None
    v_threshold: Any
    v_reset: Any

    def __init__(
        self,
        *,
        gain: Any,
        leak_rate: Any = None,
        v_leak: Any = 0.0,
        v_threshold: Any = None,
        v_reset: Any = 0.0,
        start: Any = 0.0,
        current_rate: Any = None,
        w_in: Any = 1.0,
        step_mode: str = "s",
    ) -> None:
        super().__init__(v_reset=None, step_mode=step_mode)
        del self.v_threshold, self.v_reset
        values = {
            "gain": gain,
            "leak_rate": leak_rate,
            "v_leak": v_leak,
            "v_threshold": v_threshold,
            "v_reset": v_reset,
            "start": start,
            "current_rate": current_rate,
            "w_in": w_in,
        }
        for name, value in values.items():
            self.register_buffer(name, None if value is None else as_buffer(value))
        self.i: Any
        if current_rate is not None:
            self.register_memory("i", 0.0)

    def _value(self, name: str, x: Tensor) -> Tensor:
        value: Tensor = getattr(self, name)
        return channel_view(value.to(x.dtype), x.dim()) if value.dim() < 2 else value.to(x.dtype)

    def memory_like(self, name: str, x: Tensor) -> Tensor:
        if name == "v" and not isinstance(self.v, Tensor):
            like = torch.empty(0, dtype=state_dtype(x)).expand(*[1] * (x.dim() - 1), 0)
            return self._value("start", like).to(x.device).expand(x.shape).contiguous()
        return super().memory_like(name, x)

    def neuronal_charge(self, x: Tensor) -> Tensor:
        current = x
        if self.current_rate is not None:
            drive = self._value("w_in", x) * x
            self.i = self.i + self._value("current_rate", x) * (drive - self.i)
            current = self.i
        current = self._value("gain", x) * current
        if self.leak_rate is None:
            return self.v + current
        away = self._value("v_leak", x) - self.v
        return self.v + self._value("leak_rate", x) * (away + current)

    def _step(self, x: Tensor) -> Tensor:
        h = self.v = self.neuronal_charge(x)
        if self.v_threshold is None:
            return h
        theta = self._value("v_threshold", x)
        spike: Tensor = self.surrogate_function(h - theta)
        if self.v_reset is None:
            self.v = h - spike * theta
        else:
            self.v = spike * self._value("v_reset", x) + (1.0 - spike) * h
        return spike

    def extra_repr(self) -> str:
        names = ("leak_rate", "gain", "v_threshold", "v_reset", "current_rate")
        shown = [
            f"{name}={value.item():g}" if value.numel() == 1 else f"{name}={tuple(value.shape)}"
            for name in names
            if (value := getattr(self, name)) is not None
        ]
        return ", ".join([*shown, f"step_mode={self.step_mode!r}"])


class Scale(nn.Module, StepModule):
    """``y = scale * x`` with one value per neuron, in both step modes.

    Example:
        >>> Scale([1.0, 2.0])(torch.ones(1, 2))
        tensor([[1., 2.]])
    """

    scale: Tensor

    def __init__(self, scale: Any, *, step_mode: str = "s") -> None:
        super().__init__()
        self.step_mode = step_mode
        self.register_buffer("scale", as_buffer(scale))

    def forward(self, x: Tensor) -> Tensor:
        return x * _by_neuron(self.scale, x, self.step_mode)


class Threshold(nn.Module, StepModule):
    """1 where ``x >= threshold``, else 0, in both step modes.

    Example:
        >>> Threshold(0.5)(torch.tensor([[0.2, 0.5]]))
        tensor([[0., 1.]])
    """

    threshold: Tensor

    def __init__(self, threshold: Any, *, step_mode: str = "s") -> None:
        super().__init__()
        self.step_mode = step_mode
        self.register_buffer("threshold", as_buffer(threshold))

    def forward(self, x: Tensor) -> Tensor:
        return (x >= _by_neuron(self.threshold, x, self.step_mode)).to(x.dtype)


def _by_neuron(value: Tensor, x: Tensor, step_mode: str) -> Tensor:
    value = value.to(x.dtype)
    return channel_view(value, x.dim() - (step_mode == "m")) if value.dim() < 2 else value


class NeuronDelay(MemoryModule):
    """Delay each neuron by its own number of steps: ``y_i[t] = x_i[t - steps_i]``, 0 before.

    Example:
        >>> line = NeuronDelay(torch.tensor([0, 2]), step_mode="m")
        >>> line(torch.arange(1.0, 4.0).view(3, 1, 1).expand(3, 1, 2))[:, 0].tolist()
        [[1.0, 0.0], [2.0, 0.0], [3.0, 1.0]]
    """

    steps: Tensor

    def __init__(self, steps: Tensor, *, step_mode: str = "s") -> None:
        super().__init__(step_mode)
        self.register_buffer("steps", steps.long())
        self.past: Any
        self.register_memory("past", None)

    def single_step_forward(self, x: Tensor) -> Tensor:
        longest = int(self.steps.max())
        if self.past is None:
            past = x.new_zeros((longest, *x.shape))
        else:
            past = self.past
            if longest:
                self.check_memory("past", past[0], x.shape, x.device)
        line = torch.cat((past, x.unsqueeze(0)))  # the oldest first
        index = (longest - self.steps).expand(x.shape).unsqueeze(0)
        self.past = line[1:].clone()
        return line.gather(0, index).squeeze(0)

"""What the learners share: they watch a layer and a neuron, and keep traces of their spikes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from sj_core.base import MemoryModule
from sj_train.plasticity.synapse import Synapse, axes_of, batched

Modulation = Callable[[Tensor], Tensor]


def identity(w: Tensor) -> Tensor:
    """The default modulation: the weight itself, as in multiplicative STDP."""
    return w


class Learner(MemoryModule):
    """
    Base of the learners: hooks, records, traces, and the way of `dW` into `.grad`.

    The spikes that reach `synapse` and those that leave `sn` are recorded, detached, at each
    forward until `step` uses them up. Only the weight learns, never the bias.
    """

    trace_pre: Any
    trace_post: Any

    def __init__(
        self,
        step_mode: str,
        synapse: Synapse,
        sn: nn.Module,
        tau_pre: float,
        tau_post: float,
        f_pre: Modulation = identity,
        f_post: Modulation = identity,
    ) -> None:
        super().__init__(step_mode)
        axes_of(synapse)
        self.synapse = synapse
        self.tau_pre = self._time_constant("tau_pre", tau_pre)
        self.tau_post = self._time_constant("tau_post", tau_post)
        self.f_pre = f_pre
        self.f_post = f_post
        self.register_memory("trace_pre", 0.0)
        self.register_memory("trace_post", 0.0)
        self.pre_records: list[Tensor] = []
        self.post_records: list[Tensor] = []
        self.recording = True
        self._hooks = [
            synapse.register_forward_pre_hook(self._record_pre),
            sn.register_forward_hook(self._record_post),
        ]

    smallest_tau = 0.0

    def _time_constant(self, name: str, tau: float) -> float:
        if not (math.isfinite(tau) and tau > 0 and tau >= self.smallest_tau):
            rule = f"at least {self.smallest_tau:g}" if self.smallest_tau else "greater than 0"
            raise ValueError(f"`{name}` (={tau}) must be finite and {rule}.")
        return float(tau)

    def _record_pre(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        if self.recording:
            self.pre_records.append(_spikes(args[0]))

    def _record_post(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        if self.recording:
            self.post_records.append(_spikes(output))

    def reset(self) -> None:
        """Forget traces and records; the weight and its gradient stay."""
        super().reset()
        self.pre_records.clear()
        self.post_records.clear()

    def enable(self) -> None:
        """Record from now on; `RuntimeError` if the learner is closed."""
        self._check_open()
        self.recording = True

    def disable(self) -> None:
        """Record nothing until `enable()`; what is recorded stays."""
        self.recording = False

    def close(self) -> None:
        """Take the hooks away for good and forget everything."""
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()
        self.reset()

    def _check_open(self) -> None:
        if not self._hooks:
            raise RuntimeError(
                f"This {type(self).__name__} is closed and records nothing; make a new one."
            )

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Raise: a learner is no layer; call `step()` after the forward of the net."""
        raise RuntimeError(
            f"{type(self).__name__} has no forward; run the net, then call `step()`."
        )

    def take_steps(self) -> list[tuple[Tensor, Tensor]]:
        """Use up the records: the activities of each single step, as `[N, C, *]`."""
        self._check_open()
        if len(self.pre_records) != len(self.post_records):
            raise RuntimeError(
                f"{len(self.pre_records)} inputs of `synapse` and {len(self.post_records)} outputs "
                f"of `sn` are recorded; both must run equally often, and `reset()` must follow a "
                "forward that failed."
            )
        steps: list[tuple[Tensor, Tensor]] = []
        for pre, post in zip(self.pre_records, self.post_records, strict=True):
            if self.step_mode == "s":
                steps.append(batched(self.synapse, pre, post))
                continue
            if pre.shape[:1] != post.shape[:1]:
                raise ValueError(
                    f"Spikes before and after (shapes {tuple(pre.shape)} and "
                    f"{tuple(post.shape)}) must have the same number of time steps."
                )
            steps += [batched(self.synapse, *pair) for pair in zip(pre, post, strict=True)]
        self.pre_records.clear()
        self.post_records.clear()
        return steps

    def move_traces(self, pre: Tensor, post: Tensor, decays: tuple[float, float]) -> None:
        """a <- decay * a + s, for both sides."""
        for name, spike, decay in zip(
            ("trace_pre", "trace_post"), (pre, post), decays, strict=True
        ):
            setattr(self, name, self.memory_like(name, spike) * decay + spike)

    def deliver(self, delta_w: Tensor, on_grad: bool) -> Tensor | None:
        """Add `-dW` to the weight's gradient, or hand `dW` out."""
        weight = self.synapse.weight
        delta_w = delta_w.to(weight.dtype)
        if not on_grad:
            return delta_w
        weight.grad = -delta_w if weight.grad is None else weight.grad - delta_w
        return None

    def extra_repr(self) -> str:
        """Give the time constants."""
        return f"tau_pre={self.tau_pre}, tau_post={self.tau_post}, {super().extra_repr()}"


@torch.no_grad()
def _spikes(value: Any) -> Tensor:
    x: Tensor = (value[0] if isinstance(value, tuple | list) else value).detach()
    return x if x.is_floating_point() else x.to(torch.get_default_dtype())

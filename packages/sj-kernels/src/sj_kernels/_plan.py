"""A neuron's settings, checked once, and the ways that a call of them can take."""

from typing import Any

import torch
from torch import Tensor
from torch._C import _are_functorch_transforms_active, _len_torch_dispatch_stack
from torch.autograd import forward_ad

from sj_kernels import reuse
from sj_kernels.eager import fused
from sj_kernels.once import refuse_tangents
from sj_kernels.settings import Settings, native
from sj_kernels.simple import simple
from sj_kernels.transforms import functional

_PLAIN = (Tensor, torch.nn.Parameter)


class Plan:
    """A neuron's settings, checked once: call it with `(x, v, w, decay)` at every step.

    Arguments and returns of a call are those of `neuron`. Make it with `plan`.
    """

    __slots__ = (
        "is_simple", "layouts", "learnable", "multi_step", "native", "scale", "settings", "steps",
        "threshold",
    )  # fmt: skip

    def __init__(self, settings: Settings, threshold: Tensor | None, scale: Tensor | None) -> None:
        self.settings = settings
        self.threshold = threshold
        self.scale = scale
        self.multi_step = settings.multi_step
        # For inputs that are dense but not contiguous: the strides of a step, and a plan for each.
        self.steps: tuple[int, ...] | None = None
        self.layouts: dict[tuple[int, ...], Plan] = {}
        self.is_simple = (
            settings.neuron in ("if", "lif", "plif", "qif", "eif")
            and not settings.store_v_seq
            and threshold is None
            and scale is None
        )
        self.learnable = settings.neuron == "plif"
        # Under torch.compile the op's fake kernel checks.
        self.native: Any = None if torch.compiler.is_compiling() else native(settings)

    def laid_out(self, steps: tuple[int, ...]) -> "Plan":
        """Return this plan for inputs whose steps have the given strides."""
        plan = self.layouts.get(steps)
        if plan is None:
            if len(self.layouts) >= 64:
                self.layouts.clear()
            plan = self.layouts[steps] = Plan(self.settings, self.threshold, self.scale)
            plan.steps = steps
        return plan

    def __reduce__(self) -> tuple[Any, ...]:
        return Plan, (self.settings, self.threshold, self.scale)

    def __repr__(self) -> str:
        return f"Plan({self.settings})"

    def __call__(
        self,
        x: Tensor,
        v: float | Tensor = 0.0,
        w: float | Tensor | None = None,
        decay: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
        if torch.compiler.is_compiling():
            return self._registered(x, v, w, decay)
        if _are_functorch_transforms_active():
            return functional(self, x, _number("v", v), self._second(w), decay)
        if forward_ad._current_level >= 0:
            refuse_tangents(x, v, w, decay)
        return self.eager(x, v, w, decay)

    def eager(
        self,
        x: Tensor,
        v: float | Tensor,
        w: float | Tensor | None,
        decay: Tensor | None,
    ) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
        """Call the plan where neither torch.compile, torch.func nor forward mode is at work."""
        if type(x) not in _PLAIN or _len_torch_dispatch_stack():
            if not isinstance(x, Tensor):
                raise TypeError(f"`x` (={x!r}) must be a tensor.")
            return self._registered(x, v, w, decay)
        if self.is_simple and w is None:
            outputs = simple(self, x, v, decay)
            if outputs is not None:
                return outputs
        if x.is_meta:
            return self._registered(x, v, w, decay)
        if x.device.type not in ("cpu", "cuda"):
            raise ValueError(f"`x` (on {x.device}) must be on a CPU or a CUDA device.")
        return fused(self, x, _number("v", v), self._second(w), decay)

    def _registered(
        self,
        x: Tensor,
        v: float | Tensor,
        w: float | Tensor | None,
        decay: Tensor | None,
    ) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
        v, w = _number("v", v), self._second(w)
        s, v_next, w_next, v_seq = torch.ops.sj.neuron_forward(
            x,
            v if isinstance(v, Tensor) else None,
            0.0 if isinstance(v, Tensor) else v,
            w if isinstance(w, Tensor) else None,
            0.0 if w is None or isinstance(w, Tensor) else w,
            decay,
            self.threshold,
            self.scale,
            *self.settings,
        )
        return (
            s,
            v_next,
            w_next if self.settings.neuron == "izhikevich" else None,
            v_seq if self.settings.store_v_seq else None,
        )

    def _second(self, w: float | Tensor | None) -> float | Tensor | None:
        if w is None:
            return None
        if self.settings.neuron != "izhikevich":
            raise ValueError(f"`w` must be None: {self.settings.neuron!r} has one state.")
        return _number("w", w)


def _number(argument: str, value: float | Tensor) -> float | Tensor:
    if isinstance(value, Tensor):
        return value
    try:
        return float(value)
    except (TypeError, ValueError):
        raise TypeError(f"`{argument}` (={value!r}) must be a number or a tensor.") from None


def _example(x: Tensor) -> Tensor:
    settings = Settings("if", (), 1.0, 0.0, "Sigmoid", (4.0,), False, True, False, 1.0)
    return Plan(settings, None, None).eager(x, 0.0, None, None)[0]


reuse.example = _example

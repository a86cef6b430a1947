"""Neurons that start elsewhere than at rest: at a part of their threshold, or later."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from sj_convert.modules import channel_view
from sj_core.base import state_dtype
from sj_core.neuron import BaseNode, IFNode


class StartedNode(BaseNode):
    """A neuron whose V starts at ``v_init * v_threshold + v_shift``.

    `v_shift` is a buffer, one value per channel, or None. A state with it loads into a neuron
    without it too.
    """

    corrections: ClassVar[tuple[str, ...]] = ("v_shift",)
    v_shift: Tensor | None

    def set_start(self, v_init: float) -> None:
        """Start at `v_init`, a fraction of the threshold, and without a shift."""
        self.v_init = float(v_init)
        self.register_buffer("v_shift", None)

    @property
    def v_start(self) -> Tensor:
        """Initial voltage: a number, or one per channel."""
        start = self.v_init * self.v_threshold
        if not isinstance(start, Tensor):
            start = torch.tensor(start, device="cpu")  # without axes, it fits any device
        return start if self.v_shift is None else start.to(self.v_shift) + self.v_shift

    @property
    def _at_rest(self) -> bool:
        return not self.v_init and self.v_shift is None

    def memory_like(self, name: str, x: Tensor) -> Tensor:
        if name == "v" and not self._at_rest and not isinstance(self.v, Tensor):
            start = channel_view(self.v_start.to(state_dtype(x)), x.dim())
            # In the layout of x, which may be channels-last.
            v = torch.empty_like(x, dtype=start.dtype, requires_grad=False)
            return v.copy_(start)
        return super().memory_like(name, x)

    def single_step_forward(self, x: Tensor) -> Tensor:
        self._start(x)
        return super().single_step_forward(x)

    def multi_step_forward(self, x_seq: Tensor) -> Tensor:
        if x_seq.shape[0]:
            self._start(x_seq[0])
        return super().multi_step_forward(x_seq)

    def _start(self, x: Tensor) -> None:
        if not self._at_rest and not isinstance(self.v, Tensor):
            self.v = self.memory_like("v", x)

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        saved = state_dict.get(f"{prefix}v_shift")
        if saved is not None and self.v_shift is None:
            like = next(self.buffers(), saved)
            self.v_shift = torch.empty_like(saved, dtype=like.dtype, device=like.device)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)


class LateIFNode(StartedNode, IFNode):
    """The `IFNode` between two scalers, with a start per channel from bias correction.

    Charge and reset are those of ``IFNode(v_threshold=1., v_reset=None)``; V starts at `v_init`
    plus the buffer `v_shift`.

    Shapes: ``(N, C, *)`` ('s') or ``(T, N, C, *)`` ('m') in and out.

    Example:
        >>> node = LateIFNode(v_init=0.5, step_mode="m")
        >>> node.v_shift = torch.tensor([0.0, -0.5])
        >>> node(torch.full((2, 1, 2), 0.5)).flatten(1).tolist()
        [[1.0, 0.0], [0.0, 1.0]]
    """

    native_name = "if"

    def __init__(self, *, v_init: float = 0.0, step_mode: str = "s") -> None:
        super().__init__(v_threshold=1.0, v_reset=None, step_mode=step_mode)
        self.set_start(v_init)

"""The step every neuron makes: charge, fire, reset; and the loop over time, written once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from sj_core import _native
from sj_core._checks import as_flag, as_float
from sj_core.base import guard_own_forward, guarded, map_tensors, state_dtype
from sj_core.neuron.spiking import SpikingNode
from sj_core.neuron.threshold import as_threshold, broadcast_threshold

_is_compiling = torch.compiler.is_compiling


class BaseNode(SpikingNode):
    r"""A spiking neuron: a subclass gives the charge, this class everything else.

    One step, for the charged voltage `H`, the spike `S` and the voltage `V` after the reset:

    * charge `H = neuronal_charge(X)`, which reads `self.v`;
    * fire `S = Theta(H - v_threshold)`, with the surrogate's derivative in backward;
    * hard reset `V = S*v_reset + (1 - S)*H`; soft reset (`v_reset=None`)
      `V = H - S*v_threshold`. With `detach_reset` the `S` in the reset carries no gradient.

    `V` starts at the present `v_reset` (0 for soft reset), is kept in float32 for half-precision
    inputs, and stays in `self.v` between calls until `reset()`. `store_v_seq` keeps `V` of every
    step of the last sequence in `self.v_seq`. `v_threshold` may be a tensor, without gradient:
    one value per channel `(C,)` (axis 1 of `(N, C, *)`) or any shape that broadcasts to `(N, *)`.

    Shapes: `(N, *)` to `(N, *)` for `step_mode='s'`; `(T, N, *)` to `(T, N, *)` for 'm'.

    Errors: TypeError if a setting is no number or the input no tensor of a floating dtype;
    RuntimeError if the input does not fit the kept state.

    Example:
        >>> import torch
        >>> from sj_core.neuron import BaseNode
        >>> class Doubling(BaseNode):
        ...     def neuronal_charge(self, x):
        ...         return 2 * self.v + x
        >>> node = Doubling(step_mode="m")
        >>> node(torch.full((4, 1), 0.4)).flatten()
        tensor([0., 1., 0., 1.])
    """

    native_memories: ClassVar[tuple[str, ...]] = ("v",)
    v: Any

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        guard_own_forward(cls)
        cls.guards_recompute = _has_own_loop(cls)

    def __init__(
        self,
        v_threshold: float = 1.0,
        v_reset: float | None = 0.0,
        surrogate_function: nn.Module | None = None,
        detach_reset: bool = False,
        step_mode: str = "s",
        backend: str = "auto",
        store_v_seq: bool = False,
    ) -> None:
        super().__init__(surrogate_function, step_mode, backend)
        self.v_threshold: Any = as_threshold(v_threshold)
        self.v_reset = v_reset
        self.detach_reset = as_flag("detach_reset", detach_reset)
        self.v_seq: Tensor | None = None
        self.store_v_seq = store_v_seq
        self.register_memory("v", self.v_reset or 0.0)

    @property
    def v_reset(self) -> float | None:
        """The voltage after a spike and before the first step; None: soft reset, V starts at 0."""
        own: dict[str, Any] = self.__dict__
        return own["_v_reset"] if "_v_reset" in own else self.__getattr__("v_reset")  # type: ignore[return-value]

    @v_reset.setter
    def v_reset(self, value: float | None) -> None:
        value = None if value is None else as_float("v_reset", value)
        self.move_reset_value("v", self.__dict__.get("_v_reset") or 0.0, value or 0.0)
        self._v_reset = value

    @v_reset.deleter
    def v_reset(self) -> None:
        del self._v_reset  # a subclass may keep a buffer or a parameter of the name

    @property
    def store_v_seq(self) -> bool:
        """Whether V of every step of the last sequence is kept; switched off, it is forgotten."""
        return self._store_v_seq

    @store_v_seq.setter
    def store_v_seq(self, value: bool) -> None:
        self._store_v_seq = as_flag("store_v_seq", value)
        if not value:
            self.v_seq = None

    def native_params(self) -> tuple[float, ...]:
        """The numbers of the charge that sj-kernels takes, in its order."""
        return ()

    def native_threshold(self, x: Tensor, step_shape: torch.Size) -> float | Tensor:
        """The threshold that sj-kernels takes: a number, or one per channel (axis 1 of a step)."""
        threshold = self.v_threshold
        if not isinstance(threshold, Tensor):
            return float(threshold)
        threshold = threshold.detach()  # as on the torch backend: it gets no gradient
        # of one element: not float(), which torch.compile could not trace
        return threshold.reshape(1) if threshold.numel() == 1 else threshold

    def native_output_scale(self, x: Tensor, step_shape: torch.Size) -> float | Tensor | None:
        """The height of a spike that sj-kernels writes, as `native_threshold`; None: 1."""
        return None

    def native_decay(self, x: Tensor) -> Tensor | None:
        """The learnable 1/tau that sj-kernels takes, if this node has one."""
        return None

    def neuronal_charge(self, x: Tensor) -> Tensor | None:
        """Return H for the input of one step (or set `self.v` to it and return None)."""
        raise NotImplementedError(f"{type(self).__name__} must define `neuronal_charge(x)`.")

    def threshold(self, h: Tensor) -> float | Tensor:
        """`v_threshold`, broadcast to `h` `(N, *)` where it is a tensor."""
        return broadcast_threshold(self.v_threshold, h)

    def neuronal_fire(self) -> Tensor:
        """The spike of the charged voltage `self.v`."""
        spike: Tensor = self.surrogate_function(self.v - self.threshold(self.v))
        return spike

    def neuronal_reset(self, spike: Tensor) -> None:
        """Put `self.v` to its value after `spike`."""
        s = spike.detach() if self.detach_reset else spike
        if self.v_reset is None:
            self.v = self.v - s * self.threshold(self.v)
        else:
            self.v = s * self.v_reset + (1.0 - s) * self.v

    def _step(self, x: Tensor) -> Tensor:
        h = self.neuronal_charge(x)
        if h is not None:
            self.v = h
        spike = self.neuronal_fire()
        self.neuronal_reset(spike)
        return spike

    def _materialise(self, x: Tensor) -> None:
        """Make tensors of `x`'s shape of the memories that a number resets; check them."""
        for name, reset_value in self._memory_reset_values.items():
            if isinstance(reset_value, (int, float)):
                setattr(self, name, self.memory_like(name, x))

    def single_step_forward(self, x: Tensor) -> Tensor:
        spike = _native.try_native(self, x, False)
        if spike is not None:
            return spike
        step = self._single_step_on_torch
        return step(x) if _is_compiling() else guarded(step, self, x)

    def _single_step_on_torch(self, x: Tensor) -> Tensor:
        self._materialise(x)
        y = self._step(x.to(state_dtype(x)))
        for name in self._memory_reset_values:
            if getattr(self, name) is y:
                # A memory, such as V: what a caller does to the output in place must not reach it.
                return y.to(x.dtype, copy=True)
        return y.to(x.dtype)

    def multi_step_forward(self, x_seq: Tensor) -> Tensor:
        if x_seq.size(0) == 0:
            state_dtype(x_seq)  # refused, as any other
            return torch.empty_like(x_seq)
        native = _native.try_native(self, x_seq, True)
        if native is not None:
            return native
        steps = self._multi_step_on_torch
        return steps(x_seq) if _is_compiling() else guarded(steps, self, x_seq)

    def _multi_step_on_torch(self, x_seq: Tensor) -> Tensor:
        dtype = state_dtype(x_seq)
        self._materialise(x_seq[0])
        outputs: list[Tensor] = []
        voltages: list[Tensor] = []
        for x in x_seq.unbind(0):
            outputs.append(self._step(x.to(dtype)).to(x.dtype))
            if self.store_v_seq:
                voltages.append(self.v)
        if self.store_v_seq:
            self.v_seq = torch.stack(voltages)
        return torch.stack(outputs)

    def reset(self) -> None:
        """Put every memory of this neuron back to its reset value."""
        super().reset()
        if self.v_seq is not None:
            self.v_seq = None

    def detach(self) -> None:
        """Cut every memory of this neuron, and `v_seq`, from the autograd graph."""
        super().detach()
        self.v_seq = map_tensors(Tensor.detach, self.v_seq)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        super()._apply(fn, recurse)
        if "v_threshold" in self.__dict__:  # neither parameter nor buffer: torch does not move it
            self.v_threshold = map_tensors(fn, self.v_threshold)
        return self

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()
        state.pop("_plan", None)  # a cache of the native backend
        return state

    def extra_repr(self) -> str:
        return (
            f"v_threshold={self.v_threshold}, v_reset={self.v_reset}, "
            f"detach_reset={self.detach_reset}, step_mode={self.step_mode!r}, "
            f"backend={self.backend!r}, store_v_seq={self.store_v_seq}"
        )


def _has_own_loop(cls: type[BaseNode]) -> bool:
    # Those of BaseNode guard against a recomputed forward themselves, at less cost than `forward`.
    return (
        cls.single_step_forward is not BaseNode.single_step_forward
        or cls.multi_step_forward is not BaseNode.multi_step_forward
    )


BaseNode.guards_recompute = False

"""The step every neuron makes: charge, fire, reset; and the loop over time, written once."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from sj_core import backend as _backend, surrogate
from sj_core.base import MemoryModule, state_dtype


class BaseNode(MemoryModule):
    r"""A spiking neuron: a subclass gives the charge, this class everything else.

    One step, for the charged voltage ``H``, the spike ``S`` and the voltage ``V`` after the reset:

    * charge ``H = neuronal_charge(X)``, which reads ``self.v``
    * fire ``S = Theta(H - v_threshold)``, with the surrogate's derivative in backward
    * hard reset ``V = S*v_reset + (1 - S)*H``; soft reset (``v_reset=None``)
      ``V = H - S*v_threshold``. With ``detach_reset`` the ``S`` in the reset has no gradient.

    ``V`` starts at ``v_reset`` (0 for soft reset), is kept in float32 for half-precision inputs,
    and stays in ``self.v`` between calls until ``reset()``. ``store_v_seq`` keeps ``V`` of every
    step of the last sequence in ``self.v_seq`` ``(T, N, *)``.

    Shapes: ``(N, *)`` in, ``(N, *)`` out for ``step_mode='s'``; ``(T, N, *)`` for ``'m'``.

    >>> import torch
    >>> from sj_core.neuron import BaseNode
    >>> class Doubling(BaseNode):
    ...     def neuronal_charge(self, x):
    ...         return 2 * self.v + x
    >>> node = Doubling(step_mode="m")
    >>> node(torch.full((4, 1), 0.4)).flatten().tolist()
    [0.0, 1.0, 0.0, 1.0]
    """

    native_name: ClassVar[str | None] = None
    native_memories: ClassVar[tuple[str, ...]] = ("v",)

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
        super().__init__(step_mode)
        self.v_threshold = as_float("v_threshold", v_threshold)
        self.v_reset = None if v_reset is None else as_float("v_reset", v_reset)
        self.surrogate_function = (
            surrogate.Sigmoid() if surrogate_function is None else surrogate_function
        )
        self.detach_reset = bool(detach_reset)
        self.store_v_seq = bool(store_v_seq)
        self.v_seq: Tensor | None = None
        self.v: Any
        self.register_memory("v", 0.0 if self.v_reset is None else self.v_reset)
        self.backend = backend

    @property
    def backend(self) -> str:
        return self._backend

    @backend.setter
    def backend(self, value: str) -> None:
        _backend.check_backend(self, value)
        self._backend = value

    def resolve_backend(self, x: Tensor) -> str:
        """'torch' or 'native': which would run an input like ``x``."""
        return _backend.resolve(self, x)

    def native_params(self) -> tuple[float, ...]:
        """The numbers of the charge that sj-kernels takes, in its order."""
        return ()

    def native_threshold(self, x: Tensor, step_shape: torch.Size) -> float | Tensor:
        """The threshold that sj-kernels takes: a number, or one per channel (axis 1 of a step)."""
        return self.v_threshold

    def native_output_scale(self, x: Tensor, step_shape: torch.Size) -> float | Tensor | None:
        """The height of a spike that sj-kernels writes, as `native_threshold`; None: 1."""
        return None

    def native_decay(self, x: Tensor) -> Tensor | None:
        """The learnable 1/tau that sj-kernels takes, if this node has one."""
        return None

    def neuronal_charge(self, x: Tensor) -> Tensor | None:
        """Return H for the input of one step (or set ``self.v`` to it and return None)."""
        raise NotImplementedError(f"{type(self).__name__} must define `neuronal_charge(x)`.")

    def neuronal_fire(self) -> Tensor:
        """The spike of the charged voltage ``self.v``."""
        return self.surrogate_function(self.v - self.v_threshold)

    def neuronal_reset(self, spike: Tensor) -> None:
        """Put ``self.v`` to its value after ``spike``."""
        s = spike.detach() if self.detach_reset else spike
        if self.v_reset is None:
            self.v = self.v - s * self.v_threshold
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
        for name in self._memory_reset_values:
            setattr(self, name, self.memory_like(name, x))

    def single_step_forward(self, x: Tensor) -> Tensor:
        if _backend.resolve(self, x) == "native":
            return _backend.run_native(self, x, multi_step=False)
        self._materialise(x)
        return self._step(x.to(state_dtype(x))).to(x.dtype)

    def multi_step_forward(self, x_seq: Tensor) -> Tensor:
        state_dtype(x_seq)
        if x_seq.shape[0] == 0:
            return x_seq.clone()
        if _backend.resolve(self, x_seq) == "native":
            return _backend.run_native(self, x_seq, multi_step=True)
        self._materialise(x_seq[0])
        spikes: list[Tensor] = []
        voltages: list[Tensor] = []
        for x in x_seq.unbind(0):
            spikes.append(self._step(x.to(state_dtype(x))).to(x.dtype))
            if self.store_v_seq:
                voltages.append(self.v)
        if self.store_v_seq:
            self.v_seq = torch.stack(voltages)
        return torch.stack(spikes)

    def reset(self) -> None:
        super().reset()
        self.v_seq = None

    def extra_repr(self) -> str:
        return (
            f"v_threshold={self.v_threshold}, v_reset={self.v_reset}, "
            f"detach_reset={self.detach_reset}, step_mode={self.step_mode!r}, "
            f"backend={self.backend!r}, store_v_seq={self.store_v_seq}"
        )


def as_float(name: str, value: Any) -> float:
    """``value`` as a float; ``TypeError`` that names the argument if it is no number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"`{name}` (={value!r}) must be a number.")
    return float(value)

"""What the encoders of a static input share: the train, and the position in it."""

from __future__ import annotations

import torch
from torch import Tensor

from sj_core._checks import as_count
from sj_core.base import MemoryModule
from sj_core.encoding.checks import with_time


class StatefulEncoder(MemoryModule):
    """Base of the encoders that spread a static input over `T` steps.

    A subclass writes `encode(x) -> (T, N, *)`, steps that begin with the axes of `x`. The first
    call after `reset()` encodes its input; that call and the following ones return steps 0, 1, ...
    `T` - 1, 0, ... and read of their inputs the shape only.
    'm' is that, repeated: `(T', N, *)`, of which the first step is encoded, to `(T', N, *)`.

    Errors: ValueError if `T` is less than 1; RuntimeError at the first call without an input, and
    if the shape of the input changes without a reset.

    Example:
        >>> import torch
        >>> from sj_core.encoding import StatefulEncoder
        >>> class Always(StatefulEncoder):
        ...     def encode(self, x):
        ...         return torch.ones(self.T, *x.shape)
        >>> Always(T=2)(torch.zeros(3))
        tensor([1., 1., 1.])
    """

    spike: Tensor | None
    t: int | Tensor

    def __init__(self, T: int, step_mode: str = "s") -> None:
        super().__init__(step_mode)
        self.T = as_count("T", T)
        self.register_memory("spike", None)
        self.register_memory("t", 0)

    def encode(self, x: Tensor) -> Tensor:
        """Return the whole train `(T, N, *)` of `x` `(N, *)`; the state is neither read nor set."""
        raise NotImplementedError(f"`{type(self).__name__}` must define `encode(x)`.")

    def forward(self, x: Tensor | None = None) -> Tensor:
        """Return the next step `(N, *)` ('s') or the next `T'` steps of a `(T', N, *)` ('m')."""
        if self.step_mode == "s":
            return self.single_step_forward(x)
        if not isinstance(x, Tensor):
            shown = "=None" if x is None else type(x).__name__
            raise TypeError(f"`x` ({shown}) must be a tensor of shape (T, N, *) in step mode 'm'.")
        return self.multi_step_forward(with_time(x))

    def single_step_forward(self, x: Tensor | None = None) -> Tensor:
        if self.spike is None:
            self.spike = self._first(x)
        elif isinstance(x, Tensor) and x.shape != self.spike.shape[1 : 1 + x.dim()]:
            raise RuntimeError(
                f"`x` of one step has shape {tuple(x.shape)}, but {type(self).__name__} keeps the "
                f"train of an earlier input, whose steps have shape {tuple(self.spike.shape[1:])}: "
                "call `functional.reset_net(net)` between sequences."
            )
        # A tensor, so that the position is part of the explicit state of the net.
        t = torch.as_tensor(self.t, device=self.spike.device)
        self.t = (t + 1) % self.spike.shape[0]
        return self.spike.index_select(0, t.view(1)).squeeze(0)

    def multi_step_forward(self, x_seq: Tensor) -> Tensor:
        if x_seq.shape[0] == 0:
            return x_seq.new_empty((0, *self._first(x_seq.new_zeros(x_seq.shape[1:])).shape[1:]))
        return torch.stack([self.single_step_forward(x) for x in x_seq])

    def _first(self, x: Tensor | None) -> Tensor:
        if x is None:
            raise RuntimeError("`x` (=None) must be a tensor at the first call after a reset.")
        return self.encode(x)

    def extra_repr(self) -> str:
        return f"T={self.T}, step_mode={self.step_mode!r}"


def latency_train(steps: Tensor, T: int, dtype: torch.dtype) -> Tensor:
    """One spike per element, at the step given: `(N, *)` integers -> `(T, N, *)`; -1 is silent."""
    time = torch.arange(T, device=steps.device).view(T, *([1] * steps.dim()))
    return (time == steps).to(dtype)

"""The periodic encoder."""

from __future__ import annotations

from torch import Tensor

from sj_core._checks import check_tensor
from sj_core.encoding.stateful import StatefulEncoder


class PeriodicEncoder(StatefulEncoder):
    """Replays a given spike train, step by step, again and again.

    Shapes: `spike` `(T, *)`; per call `(*)`, or that expanded to the shape of the first input.

    Errors: TypeError if `spike` is no tensor; ValueError if it has no step, or if it does not
    broadcast to the input's shape.

    Example:
        >>> import torch
        >>> from sj_core.encoding import PeriodicEncoder
        >>> encoder = PeriodicEncoder(torch.tensor([[1.0], [0.0]]))
        >>> [encoder().item() for _ in range(3)]
        [1.0, 0.0, 1.0]
    """

    pattern: Tensor

    def __init__(self, spike: Tensor, step_mode: str = "s") -> None:
        if not isinstance(spike, Tensor):
            raise TypeError(f"`spike` ({type(spike).__name__}) must be a tensor of shape (T, *).")
        if spike.dim() == 0 or spike.shape[0] == 0:
            raise ValueError(f"`spike` (shape {tuple(spike.shape)}) must have at least one step.")
        super().__init__(spike.shape[0], step_mode)
        self.register_buffer("pattern", spike.detach().clone(), persistent=False)

    def encode(self, x: Tensor | None = None) -> Tensor:
        """Return the train, expanded to `(T, *x.shape)` when `x` is given."""
        return self._first(x).clone()

    def _first(self, x: Tensor | None) -> Tensor:
        if x is None or getattr(x, "shape", None) == self.pattern.shape[1:]:
            return self.pattern
        check_tensor("x", x)
        shape = tuple(self.pattern.shape)
        try:
            view = self.pattern.view(self.T, *([1] * (x.dim() - len(shape) + 1)), *shape[1:])
            return view.expand(self.T, *x.shape)
        except RuntimeError:
            raise ValueError(
                f"`x` (shape {tuple(x.shape)}) must be a shape that the steps of `spike` "
                f"{shape[1:]} broadcast to."
            ) from None

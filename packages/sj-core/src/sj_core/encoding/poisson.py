"""The Poisson encoder."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sj_core.base import StepModule
from sj_core.encoding.checks import floating


class PoissonEncoder(nn.Module, StepModule):
    """Rate coding: at every step each element fires with probability `x`.

    Equation: `S = 1 if u < x else 0` with `u` uniform on [0, 1), so values of 0 and below never
    fire and values of 1 and above always do. Draws come from torch's global generator.

    Shapes: `(N, *)` ('s') or `(T, N, *)` ('m') to the same shape and dtype.

    Errors: TypeError if `x` is not of a floating dtype.

    Example:
        >>> import torch
        >>> from sj_core.encoding import PoissonEncoder
        >>> PoissonEncoder()(torch.tensor([0.0, 1.0]))
        tensor([0., 1.])
    """

    def __init__(self, step_mode: str = "s") -> None:
        super().__init__()
        self.step_mode = step_mode

    def forward(self, x: Tensor) -> Tensor:
        # Half precision has too few uniform values for small probabilities: draw in float32.
        draw = torch.float64 if floating(x).dtype == torch.float64 else torch.float32
        return (torch.rand(x.shape, dtype=draw, device=x.device) < x.to(draw)).to(x.dtype)

    def extra_repr(self) -> str:
        return f"step_mode={self.step_mode!r}"

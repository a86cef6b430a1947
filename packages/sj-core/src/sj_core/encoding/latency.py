"""The latency encoder."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from sj_core.encoding.checks import in_unit_interval
from sj_core.encoding.stateful import StatefulEncoder, latency_train


class LatencyEncoder(StatefulEncoder):
    """Time-to-first-spike coding: one spike per element, the earlier the larger `x` in [0, 1] is.

    Equation: the spike comes at step `round(t_f)` with
    linear: `t_f = (T - 1) (1 - x)`;
    log: `t_f = (T - 1) - ln(alpha x + 1)`, `alpha = exp(T - 1) - 1`.

    Shapes: `(N, *)` to `(N, *)` per call; `encode`: `(N, *)` to `(T, N, *)`.

    Errors: ValueError if `T` < 1, if `enc_function` is neither 'linear' nor 'log', or if `x` leaves
    [0, 1]; TypeError if `x` is not of a floating dtype.

    Example:
        >>> import torch
        >>> from sj_core.encoding import LatencyEncoder
        >>> LatencyEncoder(T=3).encode(torch.tensor([0.0, 0.5, 1.0]))
        tensor([[0., 0., 1.],
                [0., 1., 0.],
                [1., 0., 0.]])
    """

    def __init__(
        self, T: int, enc_function: Literal["linear", "log"] = "linear", step_mode: str = "s"
    ) -> None:
        super().__init__(T, step_mode)
        if enc_function not in ("linear", "log"):
            raise ValueError(f"`enc_function` (={enc_function!r}) must be 'linear' or 'log'.")
        self.enc_function = enc_function

    def encode(self, x: Tensor) -> Tensor:
        in_unit_interval(x, 1.0)
        value = x.double()
        last = self.T - 1
        if self.enc_function == "linear":
            t_f = last * (1.0 - value)
        else:
            # alpha x + 1 = e^(T-1) x + (1 - x): the sum of exponentials cannot overflow.
            t_f = last - torch.logaddexp(last + value.log(), torch.log1p(-value))
        return latency_train(t_f.round().long().clamp(0, last), self.T, x.dtype)

    def extra_repr(self) -> str:
        return f"T={self.T}, enc_function={self.enc_function!r}, step_mode={self.step_mode!r}"

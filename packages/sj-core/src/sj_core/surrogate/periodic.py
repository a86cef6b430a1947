"""The surrogate with a period."""

from __future__ import annotations

import torch
from torch import Tensor

from sj_core.surrogate.base import SurrogateFunctionBase, require


class SquarewaveFourierSeries(SurrogateFunctionBase):
    """The first `n` terms of the Fourier series of a square wave.

    Equation: `g(x) = 1/2 + 2/pi sum_{i=1}^{n} sin((2i-1) w x)/(2i-1)` with `w = 2 pi/T_period`;
    `g'(x) = (4/T_period) sum_{i=1}^{n} cos((2i-1) w x)`.

    Shapes: any shape to the same shape and dtype.

    Errors: ValueError if `n` is no positive integer or `T_period` is not greater than 0.

    Source: Fang et al., SpikingJelly, 2020 (its documentation).

    Example:
        >>> import torch
        >>> from sj_core import surrogate
        >>> x = torch.tensor([-0.25, 0.0, 0.5], requires_grad=True)
        >>> surrogate.SquarewaveFourierSeries()(x).sum().backward()
        >>> x.grad
        tensor([0.9061, 1.0000, 0.6533])
    """

    names = ("n", "T_period")
    n: int
    T_period: float

    def __init__(self, n: int = 2, T_period: float = 8.0, spiking: bool = True) -> None:
        super().__init__(n, T_period, spiking=spiking)

    @classmethod
    def check(cls, *params: float) -> None:
        n, period = params
        require(n == n // 1 and n >= 1, "n", n, "a positive integer")
        require(period > 0, "T_period", period, "greater than 0")

    @staticmethod
    def primitive(x: Tensor, n: int, T_period: float) -> Tensor:
        w = 6.283185307179586 / T_period  # 2 pi
        total = torch.sin(w * x)
        for k in range(3, 2 * int(n), 2):
            total = total + torch.sin(k * w * x) / k
        return 0.5 + 0.6366197723675814 * total  # 2 / pi

    @staticmethod
    def derivative(x: Tensor, n: int, T_period: float) -> Tensor:
        w = 6.283185307179586 / T_period  # 2 pi
        total = torch.cos(w * x)
        for k in range(3, 2 * int(n), 2):
            total = total + torch.cos(k * w * x)
        return 4 / T_period * total

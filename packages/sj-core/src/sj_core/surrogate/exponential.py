"""Surrogates whose derivative falls off exponentially, or faster."""

from __future__ import annotations

import torch
from torch import Tensor

from sj_core.surrogate.base import SurrogateFunctionBase


class PiecewiseExp(SurrogateFunctionBase):
    """Two exponentials: the derivative falls from the threshold on both sides.

    Equation: `g(x) = exp(alpha x)/2` for `x < 0`, else `1 - exp(-alpha x)/2`;
    `g'(x) = alpha/2 exp(-alpha abs(x))`.

    Shapes: any shape to the same shape and dtype.

    Errors: ValueError if `alpha` is not greater than 0.

    Source: Shrestha and Orchard, "SLAYER: spike layer error reassignment in time", 2018.

    Example:
        >>> import torch
        >>> from sj_core import surrogate
        >>> x = torch.tensor([-0.25, 0.0, 0.5], requires_grad=True)
        >>> surrogate.PiecewiseExp()(x).sum().backward()
        >>> x.grad
        tensor([0.3894, 0.5000, 0.3033])
    """

    alpha: float

    def __init__(self, alpha: float = 1.0, spiking: bool = True) -> None:
        super().__init__(alpha, spiking=spiking)

    @staticmethod
    def primitive(x: Tensor, alpha: float) -> Tensor:
        tail = torch.exp(-alpha * x.abs()) / 2
        return torch.where(x < 0, tail, 1 - tail)

    @staticmethod
    def derivative(x: Tensor, alpha: float) -> Tensor:
        return alpha / 2 * torch.exp(-alpha * x.abs())


class Sigmoid(SurrogateFunctionBase):
    """The logistic function.

    Equation: `g(x) = sigma(alpha x)`; `g'(x) = alpha sigma(alpha x) (1 - sigma(alpha x))`.

    Shapes: any shape to the same shape and dtype.

    Errors: ValueError if `alpha` is not greater than 0.

    Source: Zenke and Vogels, "The remarkable robustness of surrogate gradient learning", 2021.

    Example:
        >>> import torch
        >>> from sj_core import surrogate
        >>> x = torch.tensor([-0.25, 0.0, 0.5], requires_grad=True)
        >>> surrogate.Sigmoid()(x).sum().backward()
        >>> x.grad
        tensor([0.7864, 1.0000, 0.4200])
    """

    alpha: float

    def __init__(self, alpha: float = 4.0, spiking: bool = True) -> None:
        super().__init__(alpha, spiking=spiking)

    @staticmethod
    def primitive(x: Tensor, alpha: float) -> Tensor:
        return torch.sigmoid(alpha * x)

    @staticmethod
    def derivative(x: Tensor, alpha: float) -> Tensor:
        s = torch.sigmoid(alpha * x)
        return alpha * s * (1 - s)


class Erf(SurrogateFunctionBase):
    """The Gaussian error function.

    Equation: `g(x) = erfc(-alpha x)/2`; `g'(x) = alpha/sqrt(pi) exp(-alpha^2 x^2)`.

    Shapes: any shape to the same shape and dtype.

    Errors: ValueError if `alpha` is not greater than 0.

    Source: Yin, Corradi and Bohté, "Effective and efficient computation with multiple-timescale
    spiking recurrent neural networks", 2020.

    Example:
        >>> import torch
        >>> from sj_core import surrogate
        >>> x = torch.tensor([-0.25, 0.0, 0.5], requires_grad=True)
        >>> surrogate.Erf()(x).sum().backward()
        >>> x.grad
        tensor([0.8788, 1.1284, 0.4151])
    """

    alpha: float

    def __init__(self, alpha: float = 2.0, spiking: bool = True) -> None:
        super().__init__(alpha, spiking=spiking)

    @staticmethod
    def primitive(x: Tensor, alpha: float) -> Tensor:
        return torch.erfc(-alpha * x) / 2

    @staticmethod
    def derivative(x: Tensor, alpha: float) -> Tensor:
        return alpha / 1.7724538509055159 * torch.exp(-((alpha * x) ** 2))  # sqrt(pi)

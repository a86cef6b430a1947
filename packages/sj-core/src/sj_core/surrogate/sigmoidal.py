"""Surrogates whose primitive rises from 0 to 1 (or, of two, only its bell of a derivative)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from sj_core.surrogate.base import SurrogateFunctionBase, require


class PiecewiseQuadratic(SurrogateFunctionBase):
    """Quadratic spline: a triangle for a derivative.

    Equation: `g(x) = -alpha^2 x abs(x)/2 + alpha x + 1/2` for `abs(x) <= 1/alpha`, 0
    below and 1 above;
    `g'(x) = max(0, alpha - alpha^2 abs(x))`.

    Shapes: any shape to the same shape and dtype.

    Errors: ValueError if `alpha` is not greater than 0.

    Source: Esser et al., "Convolutional networks for fast, energy-efficient neuromorphic
    computing", 2016; Bellec et al., 2018.

    Example:
        >>> import torch
        >>> from sj_core import surrogate
        >>> x = torch.tensor([-0.25, 0.0, 0.5], requires_grad=True)
        >>> surrogate.PiecewiseQuadratic()(x).sum().backward()
        >>> x.grad
        tensor([0.7500, 1.0000, 0.5000])
    """

    alpha: float

    def __init__(self, alpha: float = 1.0, spiking: bool = True) -> None:
        super().__init__(alpha, spiking=spiking)

    @staticmethod
    def primitive(x: Tensor, alpha: float) -> Tensor:
        inner = x.clamp(-1 / alpha, 1 / alpha)
        return -(alpha**2) * inner * inner.abs() / 2 + alpha * inner + 0.5

    @staticmethod
    def derivative(x: Tensor, alpha: float) -> Tensor:
        return (alpha - alpha**2 * x.abs()).clamp(min=0)


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


class SoftSign(SurrogateFunctionBase):
    """The soft sign, x/(1 + abs(x)).

    Equation: `g(x) = (alpha x/(1 + abs(alpha x)) + 1)/2`;
    `g'(x) = 1/(2 alpha (1/alpha + abs(x))^2)`.

    Shapes: any shape to the same shape and dtype.

    Errors: ValueError if `alpha` is not greater than 0.

    Source: Glorot and Bengio, 2010 (the function); Neftci, Mostafa and Zenke, 2019.

    Example:
        >>> import torch
        >>> from sj_core import surrogate
        >>> x = torch.tensor([-0.25, 0.0, 0.5], requires_grad=True)
        >>> surrogate.SoftSign()(x).sum().backward()
        >>> x.grad
        tensor([0.4444, 1.0000, 0.2500])
    """

    alpha: float

    def __init__(self, alpha: float = 2.0, spiking: bool = True) -> None:
        super().__init__(alpha, spiking=spiking)

    @staticmethod
    def primitive(x: Tensor, alpha: float) -> Tensor:
        ax = alpha * x
        return (ax / (1 + ax.abs()) + 1) / 2

    @staticmethod
    def derivative(x: Tensor, alpha: float) -> Tensor:
        return 1 / (2 * alpha * (1 / alpha + x.abs()) ** 2)


class SuperSpike(SurrogateFunctionBase):
    """The derivative of SuperSpike, a fast sigmoid's; it has no primitive.

    Equation: `g'(x) = alpha/(1 + abs(x))^2`.

    Shapes: any shape to the same shape and dtype.

    Errors: ValueError if `alpha` is not greater than 0, or `spiking` is False.

    Source: Zenke and Ganguli, "SuperSpike: supervised learning in multilayer spiking neural
    networks", 2018.

    Example:
        >>> import torch
        >>> from sj_core import surrogate
        >>> x = torch.tensor([-0.25, 0.0, 0.5], requires_grad=True)
        >>> surrogate.SuperSpike()(x).sum().backward()
        >>> x.grad
        tensor([0.6400, 1.0000, 0.4444])
    """

    alpha: float
    has_primitive = False

    def __init__(self, alpha: float = 1.0, spiking: bool = True) -> None:
        super().__init__(alpha, spiking=spiking)

    @staticmethod
    def derivative(x: Tensor, alpha: float) -> Tensor:
        return alpha / (1 + x.abs()) ** 2


class ATan(SurrogateFunctionBase):
    """The arc tangent.

    Equation: `g(x) = atan(pi/2 alpha x)/pi + 1/2`; `g'(x) = (alpha/2)/(1 + (pi/2 alpha x)^2)`.

    Shapes: any shape to the same shape and dtype.

    Errors: ValueError if `alpha` is not greater than 0.

    Source: Fang et al., "Incorporating learnable membrane time constant to enhance learning of
    spiking neural networks", 2021.

    Example:
        >>> import torch
        >>> from sj_core import surrogate
        >>> x = torch.tensor([-0.25, 0.0, 0.5], requires_grad=True)
        >>> surrogate.ATan()(x).sum().backward()
        >>> x.grad
        tensor([0.6185, 1.0000, 0.2884])
    """

    alpha: float

    def __init__(self, alpha: float = 2.0, spiking: bool = True) -> None:
        super().__init__(alpha, spiking=spiking)

    @staticmethod
    def primitive(x: Tensor, alpha: float) -> Tensor:
        return torch.atan(math.pi / 2 * alpha * x) / math.pi + 0.5

    @staticmethod
    def derivative(x: Tensor, alpha: float) -> Tensor:
        return alpha / 2 / (1 + (math.pi / 2 * alpha * x) ** 2)


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
        return alpha / math.sqrt(math.pi) * torch.exp(-((alpha * x) ** 2))


class QPseudoSpike(SurrogateFunctionBase):
    """The q-PseudoSpike: a tail of tunable weight.

    Equation: `g(x) = (1 - 2x/(alpha-1))^(1-alpha)/2` for `x < 0`, else
    `1 - (1 + 2x/(alpha-1))^(1-alpha)/2`; `g'(x) = (1 + 2 abs(x)/(alpha-1))^(-alpha)`.

    Shapes: any shape to the same shape and dtype.

    Errors: ValueError if `alpha` is not greater than 1.

    Source: Herranz-Celotti and Rouat, "Surrogate gradients design", 2022.

    Example:
        >>> import torch
        >>> from sj_core import surrogate
        >>> x = torch.tensor([-0.25, 0.0, 0.5], requires_grad=True)
        >>> surrogate.QPseudoSpike()(x).sum().backward()
        >>> x.grad
        tensor([0.4444, 1.0000, 0.2500])
    """

    alpha: float

    def __init__(self, alpha: float = 2.0, spiking: bool = True) -> None:
        super().__init__(alpha, spiking=spiking)

    @classmethod
    def check(cls, *params: float) -> None:
        require(params[0] > 1, "alpha", params[0], "greater than 1")

    @staticmethod
    def primitive(x: Tensor, alpha: float) -> Tensor:
        tail = (1 + 2 / (alpha - 1) * x.abs()) ** (1 - alpha) / 2
        return torch.where(x < 0, tail, 1 - tail)

    @staticmethod
    def derivative(x: Tensor, alpha: float) -> Tensor:
        return (1 + 2 / (alpha - 1) * x.abs()) ** (-alpha)

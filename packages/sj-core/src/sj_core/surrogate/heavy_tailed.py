"""Surrogates whose derivative falls off as a power of x."""

from __future__ import annotations

import torch
from torch import Tensor

from sj_core.surrogate.base import SurrogateFunctionBase, require


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
        # pi as a literal, as in the others: torch.compile(dynamic=True) may make a symbol of one
        # that it finds in a module, and loses it in a backward.
        return torch.atan(1.5707963267948966 * alpha * x) / 3.141592653589793 + 0.5

    @staticmethod
    def derivative(x: Tensor, alpha: float) -> Tensor:
        return alpha / 2 / (1 + (1.5707963267948966 * alpha * x) ** 2)  # pi / 2


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


class FakeNumericalGradient(SurrogateFunctionBase):
    """The slope of the step function itself over x, clipped; it has no primitive.

    Equation: `g'(x) = min(1/abs(x), alpha)`.

    Shapes: any shape to the same shape and dtype.

    Errors: ValueError if `alpha` is not greater than 0, or `spiking` is False.

    Source: Fang et al., SpikingJelly, 2020 (its documentation).

    Example:
        >>> import torch
        >>> from sj_core import surrogate
        >>> x = torch.tensor([-0.25, 0.0, 0.5], requires_grad=True)
        >>> surrogate.FakeNumericalGradient()(x).sum().backward()
        >>> x.grad
        tensor([0.3000, 0.3000, 0.3000])
    """

    alpha: float
    has_primitive = False

    def __init__(self, alpha: float = 0.3, spiking: bool = True) -> None:
        super().__init__(alpha, spiking=spiking)

    @staticmethod
    def derivative(x: Tensor, alpha: float) -> Tensor:
        return (1 / x.abs()).clamp(max=alpha)

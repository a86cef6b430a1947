"""Surrogates with a logarithm for a primitive, on one side of the threshold or both."""

from __future__ import annotations

import torch
from torch import Tensor

from sj_core.surrogate.base import SurrogateFunctionBase, require


class NonzeroSignLogAbs(SurrogateFunctionBase):
    """The logarithm on both sides of 0: an unbounded primitive.

    Equation: `g(x) = sgn+(x) ln(alpha abs(x) + 1)` with sgn+(x) = 1 for `x >= 0`, else -1;
    `g'(x) = 1/(1/alpha + abs(x))`.

    Shapes: any shape to the same shape and dtype.

    Errors: ValueError if `alpha` is not greater than 0.

    Source: Fang et al., SpikingJelly, 2020 (its documentation).

    Example:
        >>> import torch
        >>> from sj_core import surrogate
        >>> x = torch.tensor([-0.25, 0.0, 0.5], requires_grad=True)
        >>> surrogate.NonzeroSignLogAbs()(x).sum().backward()
        >>> x.grad
        tensor([0.8000, 1.0000, 0.6667])
    """

    alpha: float

    def __init__(self, alpha: float = 1.0, spiking: bool = True) -> None:
        super().__init__(alpha, spiking=spiking)

    @staticmethod
    def primitive(x: Tensor, alpha: float) -> Tensor:
        magnitude = torch.log1p(alpha * x.abs())
        return torch.where(x < 0, -magnitude, magnitude)

    @staticmethod
    def derivative(x: Tensor, alpha: float) -> Tensor:
        return 1 / (1 / alpha + x.abs())


class S2NN(SurrogateFunctionBase):
    """The S2NN surrogate: logistic below the threshold, logarithmic above.

    Equation: `g(x) = sigma(alpha x)` for `x < 0`, else `beta ln(x + 1) + 1/2`;
    `g'(x) = alpha sigma(alpha x)(1 - sigma(alpha x))` for `x < 0`, else `beta/(x + 1)`.

    Shapes: any shape to the same shape and dtype.

    Errors: ValueError if `alpha` or `beta` is not greater than 0.

    Source: Suetake et al., "S2NN: time step reduction of spiking surrogate gradients for training
    energy efficient single-step spiking neural networks", 2022.

    Example:
        >>> import torch
        >>> from sj_core import surrogate
        >>> x = torch.tensor([-0.25, 0.0, 0.5], requires_grad=True)
        >>> surrogate.S2NN()(x).sum().backward()
        >>> x.grad
        tensor([0.7864, 1.0000, 0.6667])
    """

    names = ("alpha", "beta")
    alpha: float
    beta: float

    def __init__(self, alpha: float = 4.0, beta: float = 1.0, spiking: bool = True) -> None:
        super().__init__(alpha, beta, spiking=spiking)

    @staticmethod
    def primitive(x: Tensor, alpha: float, beta: float) -> Tensor:
        positive = beta * torch.log1p(x.clamp(min=0)) + 0.5
        return torch.where(x < 0, torch.sigmoid(alpha * x), positive)

    @staticmethod
    def derivative(x: Tensor, alpha: float, beta: float) -> Tensor:
        s = torch.sigmoid(alpha * x)
        return torch.where(x < 0, alpha * s * (1 - s), beta / (x.clamp(min=0) + 1))


class LogTailedReLU(SurrogateFunctionBase):
    """A ReLU with a logarithmic tail.

    Equation: `g(x) = alpha x` for `x <= 0`, `x` for `x <= 1`, else `ln x + 1`;
    `g'(x)` = `alpha`, 1, `1/x`.

    Shapes: any shape to the same shape and dtype.

    Errors: ValueError if `alpha` is less than 0.

    Source: Cai et al., "Deep learning with low precision by half-wave Gaussian quantization", 2017.

    Example:
        >>> import torch
        >>> from sj_core import surrogate
        >>> x = torch.tensor([-0.25, 0.0, 0.5], requires_grad=True)
        >>> surrogate.LogTailedReLU()(x).sum().backward()
        >>> x.grad
        tensor([0., 0., 1.])
    """

    alpha: float

    def __init__(self, alpha: float = 0.0, spiking: bool = True) -> None:
        super().__init__(alpha, spiking=spiking)

    @classmethod
    def check(cls, *params: float) -> None:
        require(params[0] >= 0, "alpha", params[0], "at least 0")

    @staticmethod
    def primitive(x: Tensor, alpha: float) -> Tensor:
        tail = torch.log(x.clamp(min=1)) + 1
        return torch.where(x <= 0, alpha * x, torch.where(x <= 1, x, tail))

    @staticmethod
    def derivative(x: Tensor, alpha: float) -> Tensor:
        return torch.where(x <= 0, alpha, 1 / x.clamp(min=1)).to(x.dtype)

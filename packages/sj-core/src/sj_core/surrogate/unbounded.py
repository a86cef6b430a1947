"""Surrogates with a heavy tail, a constant slope or a period."""

from __future__ import annotations

import math

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


class PiecewiseLeakyReLU(SurrogateFunctionBase):
    """A slope in a window and a small one outside.

    Equation: `g(x) = x/(2w) + 1/2` for `abs(x) < w`, `c x + c w` below, `c x - c w + 1` above;
    `g'(x) = 1/(2w)` for `abs(x) < w`, else `c`.

    Shapes: any shape to the same shape and dtype.

    Errors: ValueError if `w` is not greater than 0, or `c` is less than 0.

    Source: Wu et al., "Spatio-temporal backpropagation for training high-performance spiking neural
    networks", 2018 (the window); Zenke and Vogels, 2021.

    Example:
        >>> import torch
        >>> from sj_core import surrogate
        >>> x = torch.tensor([-0.25, 0.0, 0.5], requires_grad=True)
        >>> surrogate.PiecewiseLeakyReLU()(x).sum().backward()
        >>> x.grad
        tensor([0.5000, 0.5000, 0.5000])
    """

    names = ("w", "c")
    w: float
    c: float

    def __init__(self, w: float = 1.0, c: float = 0.01, spiking: bool = True) -> None:
        super().__init__(w, c, spiking=spiking)

    @classmethod
    def check(cls, *params: float) -> None:
        w, c = params
        require(w > 0, "w", w, "greater than 0")
        require(c >= 0, "c", c, "at least 0")

    @staticmethod
    def primitive(x: Tensor, w: float, c: float) -> Tensor:
        outer = torch.where(x < 0, c * x + c * w, c * x - c * w + 1)
        return torch.where(x.abs() < w, x / (2 * w) + 0.5, outer)

    @staticmethod
    def derivative(x: Tensor, w: float, c: float) -> Tensor:
        return torch.where(x.abs() < w, torch.full_like(x, 1 / (2 * w)), c)


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
        w = 2 * math.pi / T_period
        total = torch.sin(w * x)
        for k in range(3, 2 * int(n), 2):
            total = total + torch.sin(k * w * x) / k
        return 0.5 + 2 / math.pi * total

    @staticmethod
    def derivative(x: Tensor, n: int, T_period: float) -> Tensor:
        w = 2 * math.pi / T_period
        total = torch.cos(w * x)
        for k in range(3, 2 * int(n), 2):
            total = total + torch.cos(k * w * x)
        return 4 / T_period * total


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


class LeakyKReLU(SurrogateFunctionBase):
    """Two slopes: `leak` below the threshold, `k` above.

    Equation: `g(x) = leak x` for `x < 0`, else `k x`; `g'(x) = leak` for `x < 0`, else `k`.

    Shapes: any shape to the same shape and dtype.

    Source: Fang et al., SpikingJelly, 2020 (its documentation).

    Example:
        >>> import torch
        >>> from sj_core import surrogate
        >>> x = torch.tensor([-0.25, 0.0, 0.5], requires_grad=True)
        >>> surrogate.LeakyKReLU()(x).sum().backward()
        >>> x.grad
        tensor([0., 1., 1.])
    """

    names = ("leak", "k")
    leak: float
    k: float

    def __init__(self, leak: float = 0.0, k: float = 1.0, spiking: bool = True) -> None:
        super().__init__(leak, k, spiking=spiking)

    @classmethod
    def check(cls, *params: float) -> None:
        """Any slope is allowed."""

    @staticmethod
    def primitive(x: Tensor, leak: float, k: float) -> Tensor:
        return torch.where(x < 0, leak * x, k * x)

    @staticmethod
    def derivative(x: Tensor, leak: float, k: float) -> Tensor:
        return torch.where(x < 0, torch.full_like(x, leak), k)


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


class Rect(SurrogateFunctionBase):
    """A rectangle for a derivative.

    Equation: `g(x) = clamp(alpha x + 1/2, 0, 1)`; `g'(x) = alpha` for
    `abs(x) < 1/(2 alpha)`, else 0.

    Shapes: any shape to the same shape and dtype.

    Errors: ValueError if `alpha` is not greater than 0.

    Source: Wu et al., "Spatio-temporal backpropagation for training high-performance spiking neural
    networks", 2018.

    Example:
        >>> import torch
        >>> from sj_core import surrogate
        >>> x = torch.tensor([-0.25, 0.0, 0.5], requires_grad=True)
        >>> surrogate.Rect()(x).sum().backward()
        >>> x.grad
        tensor([1., 1., 0.])
    """

    alpha: float

    def __init__(self, alpha: float = 1.0, spiking: bool = True) -> None:
        super().__init__(alpha, spiking=spiking)

    @staticmethod
    def primitive(x: Tensor, alpha: float) -> Tensor:
        return (alpha * x + 0.5).clamp(0, 1)

    @staticmethod
    def derivative(x: Tensor, alpha: float) -> Tensor:
        return torch.where(x.abs() < 1 / (2 * alpha), torch.full_like(x, alpha), 0.0)

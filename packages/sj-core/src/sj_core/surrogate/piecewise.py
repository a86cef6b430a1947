"""Surrogates made of straight lines and parabolas."""

from __future__ import annotations

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

"""Surrogate gradients: the spike Theta(x) with a smooth derivative in backward.

Theta(x) = 1 if x >= 0 else 0, and its derivative is taken as g'(x) of a primitive g(x) (Neftci,
Mostafa and Zenke 2019). Each surrogate is a pair of functions, ``primitive`` and ``derivative``;
what a forward and a backward do with them is written once.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

Function = Callable[..., Tensor]


def heaviside(x: Tensor) -> Tensor:
    """Theta(x): 1 where ``x >= 0``, else 0, in ``x``'s dtype and shape; no gradient.

    >>> import torch
    >>> from sj_core import surrogate
    >>> surrogate.heaviside(torch.tensor([-0.1, 0.0, 0.1])).tolist()
    [0.0, 1.0, 1.0]
    """
    return (x >= 0).to(x.dtype)


class _WithDerivative(torch.autograd.Function):
    """``value(x)`` in forward, ``grad * derivative(x)`` in backward."""

    generate_vmap_rule = True

    @staticmethod
    def forward(
        x: Tensor, value: Function, derivative: Function, params: tuple[Any, ...]
    ) -> Tensor:
        return value(x, *params)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, _, ctx.derivative, ctx.params = inputs
        ctx.save_for_backward(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:  # type: ignore[override]
        (x,) = ctx.saved_tensors
        return grad * ctx.derivative(x, *ctx.params), None, None, None


def _spike(x: Tensor, *params: Any) -> Tensor:
    return heaviside(x)


class SurrogateFunctionBase(nn.Module):
    """Base of the surrogates: ``forward(x)`` of any shape gives the spikes of ``x``'s dtype.

    With ``spiking=False`` the output is the primitive g(x) itself, with the same gradient.
    A subclass names its parameters in ``names`` and gives ``primitive`` (or sets
    ``has_primitive = False``) and ``derivative``, both as functions ``(x, *params)``.
    """

    names: ClassVar[tuple[str, ...]] = ("alpha",)
    has_primitive: ClassVar[bool] = True

    def __init__(self, *params: float, spiking: bool = True) -> None:
        super().__init__()
        for name, value in zip(self.names, params, strict=True):
            setattr(self, name, value)
        self.check()
        self.spiking = spiking

    def check(self) -> None:
        """Raise ``ValueError`` if a parameter is out of its range (by default: not positive)."""
        for name in self.names:
            _require(getattr(self, name) > 0, name, getattr(self, name), "greater than 0")

    def params(self) -> tuple[float, ...]:
        """The parameters, in the order of the constructor."""
        values = self.__dict__
        return tuple([values[name] for name in self.names])

    @staticmethod
    def primitive(x: Tensor, *params: Any) -> Tensor:
        raise NotImplementedError

    @staticmethod
    def derivative(x: Tensor, *params: Any) -> Tensor:
        raise NotImplementedError

    @property
    def spiking(self) -> bool:
        return self._spiking

    @spiking.setter
    def spiking(self, value: bool) -> None:
        if not value and not self.has_primitive:
            raise ValueError(
                f"`spiking` (={value!r}) of {type(self).__name__} must be True: it has no "
                "primitive function; take another surrogate, for example `surrogate.Sigmoid()`."
            )
        self._spiking = bool(value)

    def forward(self, x: Tensor) -> Tensor:
        value = _spike if self._spiking else self.primitive
        return _WithDerivative.apply(x, value, self.derivative, self.params())

    def extra_repr(self) -> str:
        shown = [f"{name}={getattr(self, name)}" for name in self.names]
        return ", ".join([*shown, f"spiking={self.spiking}"])


def _require(holds: bool, name: str, value: float, rule: str) -> None:
    if not holds:
        raise ValueError(f"`{name}` (={value}) must be {rule}.")


class PiecewiseQuadratic(SurrogateFunctionBase):
    """g'(x) = max(0, alpha - alpha^2 abs(x))."""

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
    """g'(x) = alpha/2 exp(-alpha abs(x))."""

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
    """g(x) = sigma(alpha x), g'(x) = alpha sigma(alpha x) (1 - sigma(alpha x))."""

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
    """g'(x) = 1 / (2 alpha (1/alpha + abs(x))^2)."""

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
    """g'(x) = alpha / (1 + abs(x))^2 (Zenke and Ganguli 2018); it has no primitive."""

    alpha: float
    has_primitive = False

    def __init__(self, alpha: float = 1.0, spiking: bool = True) -> None:
        super().__init__(alpha, spiking=spiking)

    @staticmethod
    def derivative(x: Tensor, alpha: float) -> Tensor:
        return alpha / (1 + x.abs()) ** 2


class ATan(SurrogateFunctionBase):
    """g(x) = atan(pi/2 alpha x)/pi + 1/2, g'(x) = (alpha/2) / (1 + (pi/2 alpha x)^2)."""

    alpha: float

    def __init__(self, alpha: float = 2.0, spiking: bool = True) -> None:
        super().__init__(alpha, spiking=spiking)

    @staticmethod
    def primitive(x: Tensor, alpha: float) -> Tensor:
        return torch.atan(math.pi / 2 * alpha * x) / math.pi + 0.5

    @staticmethod
    def derivative(x: Tensor, alpha: float) -> Tensor:
        return alpha / 2 / (1 + (math.pi / 2 * alpha * x) ** 2)


class NonzeroSignLogAbs(SurrogateFunctionBase):
    """g(x) = sgn+(x) ln(alpha abs(x) + 1), g'(x) = 1 / (1/alpha + abs(x))."""

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


class Erf(SurrogateFunctionBase):
    """g(x) = erfc(-alpha x)/2, g'(x) = alpha/sqrt(pi) exp(-alpha^2 x^2)."""

    alpha: float

    def __init__(self, alpha: float = 2.0, spiking: bool = True) -> None:
        super().__init__(alpha, spiking=spiking)

    @staticmethod
    def primitive(x: Tensor, alpha: float) -> Tensor:
        return torch.erfc(-alpha * x) / 2

    @staticmethod
    def derivative(x: Tensor, alpha: float) -> Tensor:
        return alpha / math.sqrt(math.pi) * torch.exp(-((alpha * x) ** 2))


class PiecewiseLeakyReLU(SurrogateFunctionBase):
    """g'(x) = 1/(2w) if abs(x) < w else c."""

    names = ("w", "c")
    w: float
    c: float

    def __init__(self, w: float = 1.0, c: float = 0.01, spiking: bool = True) -> None:
        super().__init__(w, c, spiking=spiking)

    def check(self) -> None:
        _require(self.w > 0, "w", self.w, "greater than 0")
        _require(self.c >= 0, "c", self.c, "at least 0")

    @staticmethod
    def primitive(x: Tensor, w: float, c: float) -> Tensor:
        outer = torch.where(x < 0, c * x + c * w, c * x - c * w + 1)
        return torch.where(x.abs() < w, x / (2 * w) + 0.5, outer)

    @staticmethod
    def derivative(x: Tensor, w: float, c: float) -> Tensor:
        return torch.where(x.abs() < w, 1 / (2 * w), c).to(x.dtype)


class SquarewaveFourierSeries(SurrogateFunctionBase):
    """g(x) = 1/2 + 2/pi sum_{i=1}^{n} sin((2i-1) w x)/(2i-1) with w = 2 pi/T_period."""

    names = ("n", "T_period")
    n: int
    T_period: float

    def __init__(self, n: int = 2, T_period: float = 8.0, spiking: bool = True) -> None:
        super().__init__(n, T_period, spiking=spiking)

    def check(self) -> None:
        _require(int(self.n) == self.n and self.n >= 1, "n", self.n, "a positive integer")
        self.n = int(self.n)
        _require(self.T_period > 0, "T_period", self.T_period, "greater than 0")

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
    """g'(x) = alpha sigma(alpha x)(1 - sigma(alpha x)) for x < 0, else beta/(x + 1)."""

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


class QPseudoSpike(SurrogateFunctionBase):
    """g'(x) = (1 + 2 abs(x)/(alpha - 1))^(-alpha), alpha > 1."""

    alpha: float

    def __init__(self, alpha: float = 2.0, spiking: bool = True) -> None:
        super().__init__(alpha, spiking=spiking)

    def check(self) -> None:
        _require(self.alpha > 1, "alpha", self.alpha, "greater than 1")

    @staticmethod
    def primitive(x: Tensor, alpha: float) -> Tensor:
        tail = (1 + 2 / (alpha - 1) * x.abs()) ** (1 - alpha) / 2
        return torch.where(x < 0, tail, 1 - tail)

    @staticmethod
    def derivative(x: Tensor, alpha: float) -> Tensor:
        return (1 + 2 / (alpha - 1) * x.abs()) ** (-alpha)


class LeakyKReLU(SurrogateFunctionBase):
    """g'(x) = leak for x < 0, else k."""

    names = ("leak", "k")
    leak: float
    k: float

    def __init__(self, leak: float = 0.0, k: float = 1.0, spiking: bool = True) -> None:
        super().__init__(leak, k, spiking=spiking)

    def check(self) -> None:
        """Any slope is allowed."""

    @staticmethod
    def primitive(x: Tensor, leak: float, k: float) -> Tensor:
        return torch.where(x < 0, leak * x, k * x)

    @staticmethod
    def derivative(x: Tensor, leak: float, k: float) -> Tensor:
        return torch.where(x < 0, leak, k).to(x.dtype)


class FakeNumericalGradient(SurrogateFunctionBase):
    """g'(x) = min(1/abs(x), alpha); it has no primitive."""

    alpha: float
    has_primitive = False

    def __init__(self, alpha: float = 0.3, spiking: bool = True) -> None:
        super().__init__(alpha, spiking=spiking)

    @staticmethod
    def derivative(x: Tensor, alpha: float) -> Tensor:
        return (1 / x.abs()).clamp(max=alpha)


class LogTailedReLU(SurrogateFunctionBase):
    """g(x) = alpha x (x <= 0); x (0 < x <= 1); ln x + 1 (x > 1)."""

    alpha: float

    def __init__(self, alpha: float = 0.0, spiking: bool = True) -> None:
        super().__init__(alpha, spiking=spiking)

    def check(self) -> None:
        _require(self.alpha >= 0, "alpha", self.alpha, "at least 0")

    @staticmethod
    def primitive(x: Tensor, alpha: float) -> Tensor:
        tail = torch.log(x.clamp(min=1)) + 1
        return torch.where(x <= 0, alpha * x, torch.where(x <= 1, x, tail))

    @staticmethod
    def derivative(x: Tensor, alpha: float) -> Tensor:
        return torch.where(x <= 0, alpha, 1 / x.clamp(min=1)).to(x.dtype)


class Rect(SurrogateFunctionBase):
    """g(x) = clamp(alpha x + 1/2, 0, 1), g'(x) = alpha if abs(x) < 1/(2 alpha) else 0."""

    alpha: float

    def __init__(self, alpha: float = 1.0, spiking: bool = True) -> None:
        super().__init__(alpha, spiking=spiking)

    @staticmethod
    def primitive(x: Tensor, alpha: float) -> Tensor:
        return (alpha * x + 0.5).clamp(0, 1)

    @staticmethod
    def derivative(x: Tensor, alpha: float) -> Tensor:
        return torch.where(x.abs() < 1 / (2 * alpha), alpha, 0.0).to(x.dtype)

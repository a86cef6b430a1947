"""What a forward and a backward do with the two functions of a surrogate, written once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from sj_core._checks import as_flag, is_number

Function = Callable[..., Tensor]
_is_compiling = torch.compiler.is_compiling


def heaviside(x: Tensor) -> Tensor:
    """Theta(x): 1 where `x >= 0`, else 0; no gradient.

    Shapes: any shape to the same shape and dtype.

    Example:
        >>> import torch
        >>> from sj_core import surrogate
        >>> surrogate.heaviside(torch.tensor([-0.1, 0.0, 0.1]))
        tensor([0., 1., 1.])
    """
    return (x >= 0).to(x.dtype)


class _WithDerivative(torch.autograd.Function):
    """`value(x)` in forward, `grad * derivative(x)` in backward."""

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


class _WithTangent(_WithDerivative):
    """The same in forward mode: a class of its own, for torch.compile refuses one with a `jvp`."""

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        _WithDerivative.setup_context(ctx, inputs, output)
        ctx.save_for_forward(inputs[0])

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, *_: Any) -> Tensor:  # type: ignore[override]
        (x,) = ctx.saved_tensors
        return tangent * ctx.derivative(x, *ctx.params)


def _apply(x: Tensor, value: Function, derivative: Function, params: tuple[float, ...]) -> Tensor:
    if _is_compiling():
        # Keys are constants to torch.compile: it loses symbolic numbers (dynamic=True, or a
        # parameter that is annealed) on their way into the second backward of a graph.
        params = tuple([{number: number}[number] for number in params])
    function = _WithDerivative if forward_ad._current_level < 0 else _WithTangent
    output: Tensor = function.apply(x, value, derivative, params)
    return output


def _heaviside(x: Tensor, *params: Any) -> Tensor:
    return heaviside(x)


class SurrogateFunctionBase(nn.Module):
    """Base of the surrogates: a module that gives spikes, with a smooth derivative in backward.

    A subclass names its parameters in `names`, and gives `primitive(x, *params)` (or sets
    `has_primitive = False`) and `derivative(x, *params)` as static methods.

    Equation: `S = Theta(x)` with `dS/dx = g'(x)`; with `spiking=False` the output is the primitive
    g(x) itself.

    Shapes: any shape to the same shape and dtype.

    Errors: TypeError for a parameter that is no number, ValueError for one out of its range, or for
    `spiking=False` where there is no primitive.

    Example:
        >>> import torch
        >>> from sj_core.surrogate import SurrogateFunctionBase
        >>> class Line(SurrogateFunctionBase):
        ...     def __init__(self, alpha=1.0, spiking=True):
        ...         super().__init__(alpha, spiking=spiking)
        ...     @staticmethod
        ...     def derivative(x, alpha):
        ...         return torch.full_like(x, alpha)
        >>> x = torch.tensor([-1.0, 1.0], requires_grad=True)
        >>> Line(0.5)(x).sum().backward()
        >>> x.grad
        tensor([0.5000, 0.5000])
    """

    names: ClassVar[tuple[str, ...]] = ("alpha",)
    has_primitive: ClassVar[bool] = True

    def __init__(self, *params: float, spiking: bool = True) -> None:
        super().__init__()
        self.check_params(params)
        for name, value in zip(self.names, params, strict=True):
            # A number of NumPy is one to Python's arithmetic, not to torch's operations.
            setattr(self, name, value if isinstance(value, (int, float)) else float(value))
        self.spiking = spiking

    def __setattr__(self, name: str, value: Any) -> None:
        # A parameter that is changed later is checked as the constructor checks it.
        if name in self.names and name in self.__dict__:
            values = self.__dict__
            self.check_params(tuple([value if n == name else values[n] for n in self.names]))
            value = value if isinstance(value, (int, float)) else float(value)
        super().__setattr__(name, value)

    @classmethod
    def check_params(cls, params: tuple[float, ...]) -> None:
        """Raise TypeError for a parameter that is no number, ValueError for one out of range."""
        if len(params) != len(cls.names):
            expected = ", ".join(f"`{name}`" for name in cls.names) or "none"
            raise TypeError(
                f"`params` (={params!r}) of {cls.__name__} must be as many as its `names`, which "
                f"are {expected}: give `spiking` by its name."
            )
        for name, value in zip(cls.names, params, strict=True):
            if not is_number(value):
                raise TypeError(f"`{name}` (={value!r}) of {cls.__name__} must be a number.")
        cls.check(*params)

    @classmethod
    def check(cls, *params: float) -> None:
        """Raise ValueError if a parameter is out of its range (by default: not positive)."""
        for name, value in zip(cls.names, params, strict=True):
            require(value > 0, name, value, "greater than 0")

    def params(self) -> tuple[float, ...]:
        """The parameters, in the order of the constructor."""
        values = self.__dict__
        return tuple([values[name] for name in self.names])

    @staticmethod
    def primitive(x: Tensor, *params: Any) -> Tensor:
        """g(x)."""
        raise NotImplementedError("A surrogate with a primitive must define `primitive(x)`.")

    @staticmethod
    def derivative(x: Tensor, *params: Any) -> Tensor:
        """g'(x)."""
        raise NotImplementedError("A surrogate must define `derivative(x)`.")

    @property
    def spiking(self) -> bool:
        """Whether the output is the spike, or the primitive."""
        return self._spiking

    @spiking.setter
    def spiking(self, value: bool) -> None:
        value = as_flag("spiking", value)
        if not value and not self.has_primitive:
            raise ValueError(
                f"`spiking` (={value!r}) of {type(self).__name__} must be True: it has no "
                "primitive function; take another surrogate, for example `surrogate.Sigmoid()`."
            )
        self._spiking = value

    def forward(self, x: Tensor) -> Tensor:
        """Theta(x), or g(x) with `spiking=False`."""
        value = _heaviside if self._spiking else self.primitive
        return _apply(x, value, self.derivative, self.params())

    def extra_repr(self) -> str:
        shown = [f"{name}={getattr(self, name)}" for name in self.names]
        return ", ".join([*shown, f"spiking={self.spiking}"])


def require(holds: bool, name: str, value: float, rule: str) -> None:
    if not holds:
        raise ValueError(f"`{name}` (={value}) must be {rule}.")


def spike(x: Tensor, surrogate: type[SurrogateFunctionBase], *params: float) -> Tensor:
    """Theta(x) with the derivative of a surrogate class in backward.

    Example:
        >>> import torch
        >>> from sj_core.surrogate import ATan
        >>> from sj_core.surrogate.base import spike
        >>> spike(torch.tensor([-1.0, 1.0]), ATan, 2.0)
        tensor([0., 1.])
    """
    surrogate.check_params(params)
    return _apply(x, _heaviside, surrogate.derivative, params)

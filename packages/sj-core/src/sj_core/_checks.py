"""What users give: taken as it is meant, or refused by a sentence that names the argument."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any

from torch import Tensor, nn


def is_number(value: Any) -> bool:
    """Whether `value` is a real number, of Python or of NumPy; a bool is none.

    Example:
        >>> from sj_core._checks import is_number
        >>> is_number(2), is_number(True)
        (True, False)
    """
    return isinstance(value, Real) and not isinstance(value, bool)


def _real(name: str, value: Any) -> float:
    if not is_number(value):
        raise TypeError(f"`{name}` (={value!r}) must be a number.")
    return float(value)


def as_float(name: str, value: Any) -> float:
    """`value` as a float; TypeError that names the argument if it is no number, ValueError for nan.

    Example:
        >>> from sj_core._checks import as_float
        >>> as_float("tau", 2)
        2.0
    """
    number = _real(name, value)
    if number != number:
        raise ValueError(f"`{name}` (={value!r}) must be a number, not nan.")
    return number


def as_tau(name: str, value: Any) -> float:
    """A time constant in steps; ValueError unless it is greater than 1."""
    tau = _real(name, value)
    if not tau > 1.0:
        raise ValueError(f"`{name}` (={value}) must be greater than 1.")
    return tau


def as_positive(name: str, value: Any) -> float:
    """A float greater than 0; ValueError that names the argument if it is not."""
    number = _real(name, value)
    if not number > 0.0:
        raise ValueError(f"`{name}` (={value}) must be greater than 0.")
    return number


def as_fraction(name: str, value: Any) -> float:
    """A float in [0, 1]; ValueError that names the argument if it is not."""
    number = _real(name, value)
    if not 0.0 <= number <= 1.0:
        raise ValueError(f"`{name}` (={value}) must be in [0, 1].")
    return number


def as_count(name: str, value: Any, least: int = 1) -> int:
    """An int of at least `least`; TypeError for another type, ValueError for less.

    Example:
        >>> from sj_core._checks import as_count
        >>> as_count("T", 4)
        4
    """
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"`{name}` (={value!r}) must be an integer.")
    if value < least:
        raise ValueError(f"`{name}` (={value}) must be at least {least}.")
    return int(value)


def as_flag(name: str, value: Any) -> bool:
    """True or False (1 or 0); TypeError that names the argument if it is neither.

    Example:
        >>> from sj_core._checks import as_flag
        >>> as_flag("detach_reset", 1)
        True
    """
    if isinstance(value, str) or value not in (0, 1):
        raise TypeError(f"`{name}` (={value!r}) must be True or False.")
    return bool(value)


def check_module(name: str, value: Any) -> None:
    """Raise TypeError unless `value` is a module."""
    if not isinstance(value, nn.Module):
        raise TypeError(f"`{name}` (a {type(value).__name__}) must be a module, an `nn.Module`.")


def check_tensor(name: str, value: Any) -> None:
    """Raise TypeError unless `value` is a tensor."""
    if not isinstance(value, Tensor):
        raise TypeError(
            f"`{name}` (a {type(value).__name__}) must be a tensor: make one of it with "
            "`torch.as_tensor`."
        )


def check_classes(name: str, value: Any) -> None:
    """Raise TypeError unless `value` is a class or a tuple of classes."""
    try:
        isinstance(None, value)
    except TypeError:
        raise TypeError(
            f"`{name}` (={value!r}) must be a class or a tuple of classes, for example "
            "`neuron.LIFNode`."
        ) from None

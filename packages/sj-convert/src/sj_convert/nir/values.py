"""The values of a NIR node: one number where all are the same, and its metadata."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from sj_convert.nir.extra import as_array


def time_constant(node: Any, name: str, dt: float) -> np.ndarray:
    """The time constant `name` of a node, in seconds; warns of one that `dt` steps over."""
    value = as_array(getattr(node, name))
    if not (value > 0).all():
        raise ValueError(
            f"`{name}` (={value.min():g}) of a {type(node).__name__} node must be greater than 0, "
            "a time in seconds."
        )
    # One step is tau itself in files that hold float32, but for the last bits.
    if value.min() < dt * (1 - 1e-6):
        warnings.warn(
            f"`dt` (={dt:g}) exceeds `{name}` (={value.min():g}) of a {type(node).__name__} node: "
            f"forward Euler steps beyond its goal, and grows without bound where it is more than "
            f"twice that; take a `dt` that the graph is written for.",
            stacklevel=2,
        )
    return value


def uniform(value: Any) -> float | None:
    """The one value of an array, None if it holds several."""
    array = as_array(value)
    if array.size and (array == array.flat[0]).all():
        return float(array.flat[0])
    return None


def in_double(*values: Any) -> bool:
    """Whether values were written in float64, or as Python's numbers."""
    names = {str(getattr(value, "dtype", "float64")).removeprefix("torch.") for value in values}
    return names.isdisjoint({"float32", "float16", "bfloat16"})


def rounded(value: float, double: bool) -> float:
    # tau * dt / dt is tau again but for the last bits; written in float32, but for the last seven.
    for digits, error in ((12, 1e-14),) if double else ((6, 2e-7), (12, 1e-12)):
        short = float(f"{value:.{digits}g}")
        if abs(short - value) <= error * abs(value):
            return short
    return value


def near(a: float, b: float, double: bool) -> bool:
    return abs(a - b) <= (1e-12 if double else 1e-6) * abs(b)

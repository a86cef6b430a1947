"""The values of a NIR node: one number where all are the same, and its metadata."""

from __future__ import annotations

from typing import Any

import numpy as np

from sj_convert.nir.extra import as_array


def time_constant(node: Any, name: str) -> np.ndarray:
    """The time constant `name` of a node, in seconds."""
    value = as_array(getattr(node, name))
    if not (value > 0).all():
        raise ValueError(
            f"`{name}` (={value.min():g}) of a {type(node).__name__} node must be greater than 0, "
            "a time in seconds."
        )
    return value


def uniform(value: Any) -> float | None:
    """The one value of an array, None if it holds several."""
    array = as_array(value)
    if array.size and (array == array.flat[0]).all():
        return float(array.flat[0])
    return None


def rounded(value: float) -> float:
    # tau * dt / dt is tau again but for the last bits; written in float32, but for the last seven.
    for digits in (6, 12):
        short = float(f"{value:.{digits}g}")
        if abs(short - value) <= 2e-7 * abs(value) and digits == 6:
            return short
        if abs(short - value) <= 1e-12 * abs(value):
            return short
    return value


def near(a: float, b: float) -> bool:
    return abs(a - b) <= 1e-6 * abs(b)


def metadata_of(node: Any) -> dict[str, Any]:
    found = getattr(node, "metadata", None)
    return found if isinstance(found, dict) else {}


def text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)

"""The optional package `nir`, and the few numbers both directions share."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch


def load_nir() -> Any:
    """The package `nir`; `ImportError` with the cure where it is missing."""
    try:
        import nir
    except ImportError as error:
        raise ImportError(
            "Exchange through NIR needs the package nir: run `pip install 'sj-convert[nir]'`."
        ) from error
    return nir


def check_dt(dt: Any) -> float:
    """`dt` as a positive number of seconds."""
    if isinstance(dt, bool) or not isinstance(dt, int | float):
        raise TypeError(f"`dt` (={dt!r}) must be a number, the time step in seconds.")
    if not 0 < dt < float("inf"):
        raise ValueError(f"`dt` (={dt}) must be greater than 0, a time step in seconds.")
    return float(dt)


def as_array(value: Any) -> np.ndarray:
    """A copy of a value as NumPy array in float64: some writers leave torch tensors in nodes."""
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu().double().numpy()  # NumPy has no bfloat16
    return np.array(value, dtype=np.float64)

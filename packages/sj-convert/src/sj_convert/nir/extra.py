"""The optional package `nir`, and the few numbers both directions share."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn


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


def check_dtype(dtype: Any, graph: Any) -> torch.dtype:
    """`dtype`, or that of the network `graph` was written from; see `note_dtype`."""
    if dtype is None:
        written = text(metadata_of(graph).get("dtype", ""))
        return torch.float64 if written == "float64" else torch.get_default_dtype()
    if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
        raise TypeError(f"`dtype` (={dtype!r}) must be a floating-point torch.dtype, or None.")
    return dtype


def note_dtype(graph: Any, net: nn.Module, inputs: Iterable[Tensor]) -> Any:
    """`graph`, with a note of its dtype if all numbers of `net` (or `inputs`) are float64.

    The arrays do not tell: neurons' values are float64 in every graph, for the sake of tau * dt.
    """
    held = [t.dtype for t in (*net.parameters(), *net.buffers()) if t.is_floating_point()]
    if {*(held or [x.dtype for x in inputs])} == {torch.float64}:
        graph.metadata = {**metadata_of(graph), "dtype": "float64"}
    return graph


def as_array(value: Any) -> np.ndarray:
    """A copy of a value as NumPy array in float64: some writers leave torch tensors in nodes."""
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu().double().numpy()  # NumPy has no bfloat16
    return np.array(value, dtype=np.float64)


def metadata_of(node: Any) -> dict[str, Any]:
    """The metadata of a node or graph; {} where a writer left something else there."""
    found = getattr(node, "metadata", None)
    return found if isinstance(found, dict) else {}


def text(value: Any) -> str:
    """A string, which a file may hold as bytes."""
    return value.decode() if isinstance(value, bytes) else str(value)

"""How the kernels see an input: its steps, their layout, and the tensors that go with it."""

from typing import NamedTuple

import torch
from torch import Tensor

from sj_kernels.info import DTYPES
from sj_kernels.layout import dense_steps, with_strides


class Geometry(NamedTuple):
    """How the kernels see an input, and the layout of its states."""

    T: int
    n: int
    x_step: int  # elements between steps of x: n, or 0 for one step that repeats
    shape: tuple[int, ...]  # of one step
    strides: tuple[int, ...]  # of one step
    state: torch.dtype
    device: torch.device
    code: int  # of the input's dtype


_KNOWN: dict[tuple[object, ...], Geometry] = {}


def state_dtype(dtype: torch.dtype) -> torch.dtype:
    """Return the dtype of V and W: float64 for float64, else float32."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def geometry(x: Tensor, multi_step: bool) -> tuple[Tensor, Geometry]:
    """Check x; return it, or a copy in a layout that the kernels take, and how they see it."""
    if x.dtype not in DTYPES:
        raise TypeError(
            f"`x` (dtype {x.dtype}) must be float16, bfloat16, float32 or float64: convert it."
        )
    if multi_step and x.dim() == 0:
        raise ValueError("`x` (shape []) must be [T, *] for a multi-step call.")
    if x.layout is not torch.strided:
        raise TypeError(f"`x` (layout {x.layout}) must be a strided tensor; call `to_dense()`.")
    x, repeats, strides = dense_steps(x, multi_step)
    T, shape = (x.shape[0], x.shape[1:]) if multi_step else (1, x.shape)
    n = 1
    for size in shape:
        n *= size
    state = state_dtype(x.dtype)
    x_step = 0 if repeats else n
    return x, Geometry(T, n, x_step, shape, strides, state, x.device, DTYPES[x.dtype])


def empty_sequence(x: Tensor, g: Geometry, dtype: torch.dtype | None = None) -> Tensor:
    """Allocate a tensor of x's shape, dense in the layout of its steps."""
    if g.x_step or not g.n:
        return torch.empty_like(x, dtype=dtype)
    strides = (g.n, *g.strides)
    return torch.empty_strided(x.shape, strides, dtype=dtype or x.dtype, device=g.device)


def known_geometry(x: Tensor, multi_step: bool) -> tuple[Tensor, Geometry]:
    """As `geometry`, and looked up where an input like x was seen before; not for symbolic sizes.

    A call on a small tensor costs little more than its checks.
    """
    if x.layout is not torch.strided:
        return geometry(x, multi_step)
    key = (x.shape, x.stride(), x.dtype, x.device, multi_step)
    known = _KNOWN.get(key)
    if known is not None:
        return x, known
    dense, found = geometry(x, multi_step)
    if dense is x:
        if len(_KNOWN) >= 4096:
            _KNOWN.clear()
        _KNOWN[key] = found
    return dense, found


def state(argument: str, value: Tensor, g: Geometry) -> Tensor:
    """Check a state tensor and bring it into the layout of one step of x."""
    if (
        value.shape == g.shape
        and value.dtype is g.state
        and value.device == g.device
        and value.stride() == g.strides
    ):
        return value
    if value.dtype != g.state:
        dtype = next(dtype for dtype, code in DTYPES.items() if code == g.code)
        raise TypeError(
            f"`{argument}` (dtype {value.dtype}) must be {g.state} for an input of {dtype}."
        )
    if value.shape != g.shape:
        raise ValueError(
            f"`{argument}` (shape {list(value.shape)}) must have the shape of one step of `x`, "
            f"{list(g.shape)}; reset the state between sequences of different size."
        )
    if value.device != g.device:
        raise ValueError(
            f"`{argument}` (on {value.device}) must be on the device of `x`, {g.device}."
        )
    return with_strides(value, g.strides)


def channels(argument: str, value: Tensor, g: Geometry) -> tuple[Tensor, int, int]:
    """Check a per-channel tensor; return it with the number of channels and their stride."""
    if value.device != g.device:
        raise ValueError(
            f"`{argument}` (on {value.device}) must be on the device of `x`, {g.device}."
        )
    if value.dim() > 1 or value.numel() == 0:
        raise ValueError(
            f"`{argument}` (shape {list(value.shape)}) must be a float or a tensor [C], one value "
            "per channel."
        )
    value = value.detach().to(g.state).contiguous()
    if value.numel() == 1:
        return value, 1, 1
    if len(g.shape) < 2 or g.shape[1] != value.numel():
        raise ValueError(
            f"`{argument}` (shape {list(value.shape)}) must have one value per channel, axis 1 of "
            f"one step of `x`, shape {list(g.shape)}."
        )
    return value, value.numel(), g.strides[1]


def empty_state(g: Geometry) -> Tensor:
    """Allocate a state of one step."""
    return torch.empty_strided(g.shape, g.strides, dtype=g.state, device=g.device)

"""From tensors to pointers: checks, outputs, and the call of the extension."""

from typing import NamedTuple

import torch
from torch import Tensor

from sj_kernels.info import DTYPES
from sj_kernels.layout import dense_steps, with_strides
from sj_kernels.settings import Settings, native


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
    if g.x_step:
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


def _per_channel(
    threshold: Tensor | None, scale: Tensor | None, g: Geometry
) -> tuple[Tensor | None, Tensor | None, int, int]:
    count, inner = 1, 1
    if threshold is scale is None:
        return None, None, count, inner
    if threshold is not None:
        threshold, count, inner = channels("v_threshold", threshold, g)
    if scale is not None:
        scale, scale_count, scale_inner = channels("output_scale", scale, g)
        if threshold is not None and scale_count != count:
            # one value and many: repeat the one
            size = max(count, scale_count)
            threshold, scale = threshold.expand(size), scale.expand(size)
            threshold, scale = threshold.contiguous(), scale.contiguous()
        count, inner = max(count, scale_count), max(inner, scale_inner)
    return threshold, scale, count, inner


def learnable_decay(decay: Tensor | None, settings: Settings, g: Geometry) -> Tensor | None:
    """Check the tensor that holds 1/tau."""
    if (decay is None) == (settings.neuron == "plif"):
        raise ValueError(
            f"`decay` must be a tensor of one element for 'plif' and None for any other neuron; "
            f"`neuron` is {settings.neuron!r}."
        )
    if decay is None:
        return None
    if decay.numel() != 1:
        raise ValueError(f"`decay` (shape {list(decay.shape)}) must hold one element.")
    if decay.device != g.device:
        raise ValueError(f"`decay` (on {decay.device}) must be on the device of `x`, {g.device}.")
    return decay if decay.dtype is g.state else decay.detach().to(g.state)


def _pointer(tensor: Tensor | None) -> int:
    return 0 if tensor is None else tensor.data_ptr()


# In place of a device's index: the CPU, and the CUDA kernels' bodies run on the CPU.
_CPU = -1
_CUDA_ON_HOST = -2
_SEGMENT = 8  # steps between checkpoints of the CUDA backward (kSegment in src/cuda/body.hpp)


def _place(x: Tensor) -> tuple[int, int]:
    if not x.is_cuda:
        return _CPU, 0
    return x.device.index, torch.cuda.current_stream(x.device).cuda_stream


def _states(
    settings: Settings, v: Tensor | None, w: Tensor | None, g: Geometry
) -> tuple[Tensor | None, Tensor | None]:
    v = None if v is None else state("v", v, g)
    if w is not None and settings.neuron != "izhikevich":
        raise ValueError(f"`w` must be None: {settings.neuron!r} has one state.")
    return v, None if w is None else state("w", w, g)


def empty_state(g: Geometry) -> Tensor:
    """Allocate a state of one step."""
    return torch.empty_strided(g.shape, g.strides, dtype=g.state, device=g.device)


def forward_outputs(
    settings: Settings, x: Tensor, g: Geometry
) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
    """Allocate spikes, v_next, w_next and v_seq for the geometry of a call."""
    w_next = empty_state(g) if settings.neuron == "izhikevich" else None
    v_seq = empty_sequence(x, g, g.state) if settings.store_v_seq else None
    return empty_sequence(x, g), empty_state(g), w_next, v_seq


def forward(
    settings: Settings,
    x: Tensor,
    v: Tensor | None,
    v_fill: float,
    w: Tensor | None,
    w_fill: float,
    decay: Tensor | None,
    threshold: Tensor | None,
    scale: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
    """Run all steps of x; returns spikes, v_next, w_next or None, v_seq or None."""
    x, g = known_geometry(x, settings.multi_step)
    v, w = _states(settings, v, w, g)
    decay = learnable_decay(decay, settings, g)
    threshold, scale, count, inner = _per_channel(threshold, scale, g)
    s, v_next, w_next, v_seq = outputs = forward_outputs(settings, x, g)
    if g.T == 0:
        v_next.copy_(v) if v is not None else v_next.fill_(v_fill)
        if w_next is not None:
            w_next.copy_(w) if w is not None else w_next.fill_(w_fill)
        return outputs
    if g.n == 0:
        return outputs
    device, stream = _place(x)
    native(settings).forward(
        x.data_ptr(),
        _pointer(v),
        v_fill,
        _pointer(w),
        w_fill,
        _pointer(threshold),
        _pointer(scale),
        count,
        inner,
        _pointer(decay),
        s.data_ptr(),
        v_next.data_ptr(),
        _pointer(w_next),
        _pointer(v_seq),
        g.T,
        g.n,
        g.x_step,
        g.code,
        torch.get_num_threads(),
        device,
        stream,
    )
    return outputs


def backward(
    settings: Settings,
    g_s: Tensor | None,
    g_v_next: Tensor | None,
    g_w_next: Tensor | None,
    g_v_seq: Tensor | None,
    x: Tensor,
    v: Tensor | None,
    v_fill: float,
    w: Tensor | None,
    w_fill: float,
    decay: Tensor | None,
    threshold: Tensor | None,
    scale: Tensor | None,
    need_decay: bool,
) -> tuple[Tensor, Tensor | None, Tensor | None, Tensor | None]:
    """Return the gradients of x, v, w and decay; None for what is absent or not needed."""
    x, g = known_geometry(x, settings.multi_step)
    v, w = _states(settings, v, w, g)
    one = learnable_decay(decay, settings, g)
    threshold, scale, count, inner = _per_channel(threshold, scale, g)

    g_x = empty_sequence(x, g)
    g_v = None if v is None else empty_state(g)
    g_w = None if w is None else empty_state(g)
    learnable = decay if need_decay else None
    if g.T == 0 or g.n == 0:
        for gradient, incoming in ((g_v, g_v_next), (g_w, g_w_next)):
            if gradient is not None:
                gradient.copy_(incoming) if incoming is not None else gradient.zero_()
        return g_x, g_v, g_w, None if learnable is None else torch.zeros_like(learnable)

    if g_s is not None:
        g_s = with_strides(g_s.to(x.dtype), g_x.stride())
    if g_v_seq is not None:
        g_v_seq = with_strides(g_v_seq, g_x.stride())
    if g_v_next is not None:
        g_v_next = with_strides(g_v_next, g.strides)
    if g_w_next is not None:
        g_w_next = with_strides(g_w_next, g.strides)
    device, stream = _place(x)
    partial = scratch = None
    if device != _CPU:
        checkpoints = (g.T - 1) // _SEGMENT * (2 if settings.neuron == "izhikevich" else 1)
        scratch = torch.empty(checkpoints * g.n, dtype=g.state, device=g.device)
        if learnable is not None:
            partial = torch.empty((g.n + 63) // 64, dtype=torch.float64, device=g.device)
    total = native(settings).backward(
        _pointer(g_s),
        _pointer(g_v_next),
        _pointer(g_w_next),
        _pointer(g_v_seq),
        x.data_ptr(),
        _pointer(v),
        v_fill,
        _pointer(w),
        w_fill,
        _pointer(threshold),
        _pointer(scale),
        count,
        inner,
        _pointer(one),
        g_x.data_ptr(),
        _pointer(g_v),
        _pointer(g_w),
        _pointer(partial),
        learnable is not None,
        _pointer(scratch),
        g.T,
        g.n,
        g.x_step,
        g.code,
        torch.get_num_threads(),
        device,
        stream,
    )
    if learnable is None:
        return g_x, g_v, g_w, None
    if partial is None:
        return g_x, g_v, g_w, torch.full_like(learnable, total)
    return g_x, g_v, g_w, partial.sum().to(learnable.dtype).view_as(learnable)

"""From tensors to pointers: checks, outputs, and the call of the extension."""

from typing import NamedTuple

import torch
from torch import Tensor

from sj_kernels.info import DTYPES
from sj_kernels.layout import dense_steps, with_strides
from sj_kernels.settings import Settings, native


class Geometry(NamedTuple):
    """How one call sees its input."""

    x: Tensor  # dense, time outermost
    T: int
    n: int
    shape: tuple[int, ...]  # of one step
    strides: tuple[int, ...]  # of one step
    state: torch.dtype


def state_dtype(dtype: torch.dtype) -> torch.dtype:
    """Return the dtype of V and W: float64 for float64, else float32."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def geometry(x: Tensor, multi_step: bool) -> Geometry:
    """Check x and bring it into a layout that the kernels take."""
    if x.dtype not in DTYPES:
        raise TypeError(
            f"`x` (dtype {x.dtype}) must be float16, bfloat16, float32 or float64: convert it."
        )
    if multi_step and x.dim() == 0:
        raise ValueError("`x` (shape []) must be [T, *] for a multi-step call.")
    if x.layout is not torch.strided:
        raise TypeError(f"`x` (layout {x.layout}) must be a strided tensor; call `to_dense()`.")
    if x.is_contiguous():
        shape = x.shape[1:] if multi_step else x.shape
        strides = x.stride()[1:] if multi_step else x.stride()
    else:
        x, strides = dense_steps(x, multi_step)
        shape = x.shape[1:] if multi_step else x.shape
    T = x.shape[0] if multi_step else 1
    n = 1
    for size in shape:
        n *= size
    return Geometry(x, T, n, shape, strides, state_dtype(x.dtype))


def state(argument: str, value: Tensor, g: Geometry) -> Tensor:
    """Check a state tensor and bring it into the layout of one step of x."""
    if value.dtype != g.state:
        raise TypeError(
            f"`{argument}` (dtype {value.dtype}) must be {g.state} for an input of {g.x.dtype}."
        )
    if value.shape != g.shape:
        raise ValueError(
            f"`{argument}` (shape {list(value.shape)}) must have the shape of one step of `x`, "
            f"{list(g.shape)}; reset the state between sequences of different size."
        )
    if value.device != g.x.device:
        raise ValueError(
            f"`{argument}` (on {value.device}) must be on the device of `x`, {g.x.device}."
        )
    return with_strides(value, g.strides)


def channels(argument: str, value: Tensor, g: Geometry) -> tuple[Tensor, int, int]:
    """Check a per-channel tensor; return it with the number of channels and their stride."""
    if value.device != g.x.device:
        raise ValueError(
            f"`{argument}` (on {value.device}) must be on the device of `x`, {g.x.device}."
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
    if decay.device != g.x.device:
        raise ValueError(f"`decay` (on {decay.device}) must be on the device of `x`, {g.x.device}.")
    return decay.detach().to(g.state)


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


def forward_outputs(
    settings: Settings, g: Geometry
) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
    """Allocate spikes, v_next, w_next and v_seq for the geometry of a call."""

    def one_step() -> Tensor:
        return torch.empty_strided(g.shape, g.strides, dtype=g.state, device=g.x.device)

    s = torch.empty_like(g.x)
    w_next = one_step() if settings.neuron == "izhikevich" else None
    v_seq = torch.empty_like(g.x, dtype=g.state) if settings.store_v_seq else None
    return s, one_step(), w_next, v_seq


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
    g = geometry(x, settings.multi_step)
    v, w = _states(settings, v, w, g)
    decay = learnable_decay(decay, settings, g)
    threshold, scale, count, inner = _per_channel(threshold, scale, g)
    s, v_next, w_next, v_seq = outputs = forward_outputs(settings, g)
    if g.T == 0:
        v_next.copy_(v) if v is not None else v_next.fill_(v_fill)
        if w_next is not None:
            w_next.copy_(w) if w is not None else w_next.fill_(w_fill)
        return outputs
    if g.n == 0:
        return outputs
    device, stream = _place(g.x)
    native(settings).forward(
        g.x.data_ptr(),
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
        DTYPES[g.x.dtype],
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
    g = geometry(x, settings.multi_step)
    v, w = _states(settings, v, w, g)
    one = learnable_decay(decay, settings, g)
    threshold, scale, count, inner = _per_channel(threshold, scale, g)

    g_x = torch.empty_like(g.x)

    def one_step() -> Tensor:
        return torch.empty_strided(g.shape, g.strides, dtype=g.state, device=g.x.device)

    g_v = None if v is None else one_step()
    g_w = None if w is None else one_step()
    g_decay = torch.zeros_like(decay) if need_decay and decay is not None else None
    if g.T == 0 or g.n == 0:
        for gradient, incoming in ((g_v, g_v_next), (g_w, g_w_next)):
            if gradient is not None:
                gradient.copy_(incoming) if incoming is not None else gradient.zero_()
        return g_x, g_v, g_w, g_decay

    if g_s is not None:
        g_s = with_strides(g_s.to(g.x.dtype), g.x.stride())
    if g_v_seq is not None:
        g_v_seq = with_strides(g_v_seq, g.x.stride())
    if g_v_next is not None:
        g_v_next = with_strides(g_v_next, g.strides)
    if g_w_next is not None:
        g_w_next = with_strides(g_w_next, g.strides)
    device, stream = _place(g.x)
    partial = scratch = None
    if device != _CPU:
        checkpoints = (g.T - 1) // _SEGMENT * (2 if settings.neuron == "izhikevich" else 1)
        scratch = torch.empty(checkpoints * g.n, dtype=g.state, device=g.x.device)
        if g_decay is not None:
            partial = torch.empty((g.n + 63) // 64, dtype=torch.float64, device=g.x.device)
    total = native(settings).backward(
        _pointer(g_s),
        _pointer(g_v_next),
        _pointer(g_w_next),
        _pointer(g_v_seq),
        g.x.data_ptr(),
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
        g_decay is not None,
        _pointer(scratch),
        g.T,
        g.n,
        DTYPES[g.x.dtype],
        torch.get_num_threads(),
        device,
        stream,
    )
    if g_decay is not None:
        if partial is not None:
            g_decay.copy_(partial.sum())
        else:
            g_decay.fill_(total)
    return g_x, g_v, g_w, g_decay

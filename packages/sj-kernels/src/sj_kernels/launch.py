"""From tensors to pointers: checks, outputs, and the call of the extension."""

import torch
from torch import Tensor

from sj_kernels import _ext
from sj_kernels.device import on_device
from sj_kernels.geometry import (
    Geometry,
    channels,
    empty_sequence,
    empty_state,
    known_geometry,
    state,
)
from sj_kernels.layout import with_strides
from sj_kernels.settings import Settings, native


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
    if not isinstance(decay, Tensor):
        raise TypeError(f"`decay` (={decay!r}) must be a tensor of one element.")
    if decay.numel() != 1:
        raise ValueError(f"`decay` (shape {list(decay.shape)}) must hold one element.")
    if decay.device != g.device:
        raise ValueError(f"`decay` (on {decay.device}) must be on the device of `x`, {g.device}.")
    return decay if decay.dtype is g.state else decay.detach().to(g.state)


def _pointer(tensor: Tensor | None) -> int:
    return 0 if tensor is None else tensor.data_ptr()


def _plain(tensor: Tensor) -> Tensor:
    # A view may stand for its negative, as the imaginary part of a conjugate does.
    return tensor.resolve_neg() if tensor.is_neg() else tensor


# In place of a device's index: the CPU, and the CUDA kernels' bodies run on the CPU.
_CPU = -1
_CUDA_ON_HOST = -2


def _place(x: Tensor) -> tuple[int, int]:
    if not x.is_cuda:
        return _CPU, 0
    return x.device.index, torch.cuda.current_stream(x.device).cuda_stream


def _states(
    settings: Settings, v: Tensor | None, w: Tensor | None, g: Geometry
) -> tuple[Tensor | None, Tensor | None]:
    v = None if v is None else state("v", _plain(v), g)
    if w is not None and settings.neuron != "izhikevich":
        raise ValueError(f"`w` must be None: {settings.neuron!r} has one state.")
    return v, None if w is None else state("w", _plain(w), g)


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
    x, g = known_geometry(_plain(x), settings.multi_step)
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
    on_device(
        device,
        native(settings).forward,
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
    x, g = known_geometry(_plain(x), settings.multi_step)
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
        g_s = with_strides(_plain(g_s).to(x.dtype), g_x.stride())
    if g_v_seq is not None:
        g_v_seq = with_strides(_plain(g_v_seq), g_x.stride())
    if g_v_next is not None:
        g_v_next = with_strides(_plain(g_v_next), g.strides)
    if g_w_next is not None:
        g_w_next = with_strides(_plain(g_w_next), g.strides)
    device, stream = _place(x)
    partial = scratch = None
    if device != _CPU:
        rows = _ext.checkpoints(g.T, g.state is torch.float64)
        states = 2 if settings.neuron == "izhikevich" else 1
        scratch = torch.empty(rows * states * g.n, dtype=g.state, device=g.device)
        if learnable is not None:
            partial = torch.empty((g.n + 63) // 64, dtype=torch.float64, device=g.device)
    total = on_device(
        device,
        native(settings).backward,
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

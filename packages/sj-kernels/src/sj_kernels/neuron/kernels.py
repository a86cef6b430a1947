"""The calls of the fused neuron that the step API stands on: without autograd, of one state."""

from typing import cast

import torch
from torch import Tensor

from sj_kernels import launch
from sj_kernels.batched import is_batched
from sj_kernels.settings import Settings

# v_fill, w, w_fill, decay, threshold, scale: a state is always given, all else is absent.
_REST = (0.0, None, 0.0, None, None, None)


def forward(chosen: Settings, x: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return spikes, v_next and V at every step, None unless the settings ask for it."""
    for argument, value in (("x", x), ("v", v)):
        if not isinstance(value, Tensor):
            raise TypeError(f"`{argument}` (={value!r}) must be a tensor.")
    if torch.compiler.is_compiling():  # which cannot trace into the extension
        s, v_next, _, v_seq = torch.ops.sj.neuron_forward(x, v, *_REST, *chosen)
    else:
        s, v_next, _, v_seq = launch.forward(chosen, x, v, *_REST)
    return s, v_next, v_seq if chosen.store_v_seq else None


def backward(
    chosen: Settings, g_s: Tensor | None, g_v_next: Tensor | None, x: Tensor, v: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """Return the gradients of x and v."""
    tensors = (g_s, g_v_next, None, None, x, v)
    if torch.compiler.is_compiling():
        g_x, g_v, _, _ = torch.ops.sj.neuron_backward(*tensors, *_REST, *chosen, False)
    else:
        try:
            g_x, g_v, _, _ = launch.backward(chosen, *tensors, *_REST, False)
        except RuntimeError:
            if not is_batched((g_s, g_v_next)):
                raise
            g_x, g_v, _, _ = torch.ops.sj.neuron_backward(*tensors, *_REST, *chosen, False)
    return cast(Tensor, g_x), None if v is None else g_v

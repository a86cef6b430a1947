"""One step of each cell, written from its equations on pre-activations; differentiable.

Half-precision pre-activations and states are computed in float32 and given back in their dtype.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from sj_rnn.check import wide

Spike = Callable[[Tensor], Tensor]


class _ClampMax(torch.autograd.Function):
    """min(x, limit) in forward, the identity in backward (straight through)."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, limit: float) -> Tensor:
        return x.clamp(max=limit)

    @staticmethod
    def setup_context(ctx: object, inputs: tuple[object, ...], output: Tensor) -> None:
        pass

    @staticmethod
    def backward(ctx: object, grad: Tensor) -> tuple[Tensor, None]:
        return grad, None


def lstm_step(
    pre: Tensor, c: Tensor, s1: Spike, s2: Spike, clamp_cell: float | None
) -> tuple[Tensor, Tensor]:
    """(h', c') of pre-activations ``[N, 4H]`` (order i, f, g, o) and cell state ``[N, H]``."""
    wide_pre = wide(pre)
    if s1 is s2:
        i, f, g, o = s1(wide_pre).chunk(4, -1)
    else:
        i, f, g, o = wide_pre.chunk(4, -1)
        i, f, g, o = s1(i), s1(f), s2(g), s1(o)
    c_next = f * wide(c) + i * g
    if clamp_cell is not None:
        c_next = _ClampMax.apply(c_next, clamp_cell)
    return (o * c_next).to(pre.dtype), c_next.to(pre.dtype)


def gru_step(pre_x: Tensor, pre_h: Tensor, h: Tensor, s1: Spike, s2: Spike) -> Tensor:
    """h' of the input's and the state's pre-activations ``[N, 3H]`` (order r, z, n), biases in."""
    size = h.shape[-1]
    wide_x, wide_h = wide(pre_x), wide(pre_h)
    gates = s1(wide_x[..., : 2 * size] + wide_h[..., : 2 * size])
    r, z = gates.chunk(2, -1)
    n = s2(wide_x[..., 2 * size :] + r * wide_h[..., 2 * size :])
    return ((1 - z) * n + z * wide(h)).to(h.dtype)


def vanilla_step(pre: Tensor, s: Spike) -> Tensor:
    """h' of pre-activations ``[N, H]``."""
    return s(wide(pre)).to(pre.dtype)

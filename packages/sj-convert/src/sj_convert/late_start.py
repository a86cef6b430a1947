"""How late each channel's neurons start, and the bias that makes up for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from sj_convert.modules import channel_view
from sj_convert.neuron import ScaledIFNode
from sj_convert.start import LateIFNode
from sj_core import functional

STARTS = (0.0, 0.25, 0.5, 0.75, 1.0)
# What comes late leaves less time to later layers, and neurons near T spikes lose some: errors that
# neighbours share and that averages keep. A late start has to gain this much, per theta.
CAUTION = 0.15
PASSES = 3  # a threshold that clips answers a shift of the bias by less: the next adds the rest

Pairs = Callable[[], Iterable[tuple[Tensor, Tensor]]]


def fit(neuron: Sequence[nn.Module], pairs: Pairs, T: int) -> tuple[Tensor, Tensor | None]:
    r"""The bias of each channel, and the shift of its initial voltage, for least squared error.

    A spike that came too early cannot be taken back, one that is late can be made up for. A start
    lower by :math:`c\theta` and a bias higher by :math:`c\theta/T` leave the count of a constant
    input as it is (below T spikes), and hold back what an uneven input would release too early.
    Each c of `STARTS` is tried, its bias moved by ``mean(a) - mean(spikes * theta / T)`` over all
    pairs, `PASSES` times. Kept is, per channel, the c with the least
    ``(1 + CAUTION c) mean((a - spikes * theta / T)^2)``.

    Args:
        neuron: the modules of a site in order, in step mode 'm': a fused neuron of kind 'if', or
            scaler, `LateIFNode` and scaler; whatever else gets a bias alone.
        pairs: gives the pairs of an input current ``(T, N, C, *)`` of the neuron and the
            activation ``(N, C, *)`` that it stands for, anew at each call.
        T: number of time steps.

    Returns:
        bias and shift, both ``(C,)`` in float64, the shift in units of the neuron's voltage; it is
        None for what gets a bias alone.
    """
    node: Any = movable(neuron)
    starts: tuple[float, ...] = (0.0,) if node is None else STARTS
    bias = shift = squares = torch.zeros(0)
    for last in [False] * (PASSES - 1) + [True]:
        count = 0
        for current, a in pairs():
            axes = [0, *range(2, a.dim())]
            if bias.numel() == 0:
                bias, shift = _starts(neuron, starts, a.shape[1], T)
            if count == 0:
                errors, squares = torch.zeros_like(bias), torch.zeros_like(bias)
            count += a.numel() // a.shape[1]
            for i in range(len(starts)):
                if node is not None:
                    node.v_shift = shift[i].to(_theta(neuron))
                error = a - _mean_output(neuron, current, bias[i])
                errors[i] += error.sum(axes, dtype=torch.float64)
                if last:
                    squares[i] += error.square_().sum(axes, dtype=torch.float64)
        bias = bias + errors / max(count, 1)
    weights = 1 + CAUTION * torch.tensor(starts, dtype=squares.dtype, device=squares.device)
    best = (squares * weights.unsqueeze(1)).argmin(0, keepdim=True)
    chosen = bias.gather(0, best).squeeze(0)
    if node is None:
        return chosen, None
    node.v_shift = None
    return chosen, shift.gather(0, best).squeeze(0)


def movable(neuron: Sequence[nn.Module]) -> nn.Module | None:
    """The module of a site that can start late, or None."""
    return next((m for m in neuron if type(m) in (ScaledIFNode, LateIFNode)), None)


def _theta(neuron: Sequence[nn.Module]) -> Tensor:
    """Threshold of a site, as its input sees it."""
    last: Any = neuron[-1]
    theta: Tensor = last.scale if len(neuron) > 1 else last.v_threshold
    return theta


def _starts(
    neuron: Sequence[nn.Module], starts: tuple[float, ...], channels: int, T: int
) -> tuple[Tensor, Tensor]:
    """Bias and shift to begin with, `(len(starts), channels)` each."""
    theta = _theta(neuron).double().expand(channels)
    late = torch.tensor(starts, dtype=torch.float64, device=theta.device).unsqueeze(1)
    # Between scalers the voltage is in units of theta.
    return late * theta / T, -late * (torch.ones_like(theta) if len(neuron) > 1 else theta)


def _mean_output(neuron: Sequence[nn.Module], current: Tensor, bias: Tensor) -> Tensor:
    """Mean output over T steps, from the start, for `current` with a bias per channel."""
    y = current + channel_view(bias.to(current.dtype), current.dim() - 1)
    for module in neuron:
        functional.reset_net(module)
        y = module(y)
        functional.reset_net(module)
    return y.mean(0, dtype=torch.promote_types(y.dtype, torch.float32))

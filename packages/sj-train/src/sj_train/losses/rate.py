"""Losses on firing rates and spike counts."""

import torch
import torch.nn.functional as F
from torch import Tensor

from sj_train.losses._check import check_sequence, class_target, narrow, widen


def firing_rate_loss(spikes: Tensor, low: float, high: float) -> Tensor:
    r"""
    Penalty on neurons that fire too seldom or too often.

    .. math:: L = \mathrm{mean}_i \left( \mathrm{relu}(low - r_i)^2 + \mathrm{relu}(r_i - high)^2
        \right), \qquad r_i = \frac{1}{T N} \sum_{t, n} s_i[t, n]

    Args:
        spikes: `[T, N, *]`; the rate of each neuron of `*` is taken over T and N.
        low: lowest rate without a penalty, in spikes per step.
        high: highest rate without a penalty, in spikes per step.

    Returns:
        A scalar.

    Raises:
        ValueError: `low` above `high`; no time step, no sample or no neuron.

    Example:
        >>> import torch
        >>> spikes = torch.tensor([[[0.0, 1.0]], [[0.0, 1.0]]])
        >>> firing_rate_loss(spikes, low=0.1, high=0.5)
        tensor(0.1300)
    """
    check_sequence("spikes", spikes, "[T, N, *]", 2)
    if spikes.numel() == 0:
        lacking = "sample" if spikes.shape[1] == 0 else "neuron"
        raise ValueError(
            f"`spikes` (shape {tuple(spikes.shape)}) must hold at least one {lacking}; "
            f"leave out a {'batch' if lacking == 'sample' else 'layer'} without any."
        )
    if not low <= high:
        raise ValueError(f"`low` (={low}) must not be greater than `high` (={high}).")
    rate = spikes.mean(dim=(0, 1), dtype=widen(spikes[:0]).dtype)
    penalty = torch.relu(low - rate).square() + torch.relu(rate - high).square()
    return narrow(penalty.mean(), spikes)


def spike_count_cross_entropy(spikes: Tensor, target: Tensor) -> Tensor:
    r"""
    Cross entropy with the spike counts over time as logits.

    .. math:: L = L_{CE}\left( \sum_t s[t], y \right)

    Args:
        spikes: `[T, N, C, *]`, the spikes of the output neurons, one per class.
        target: `[N, *]`, class indices, or `[N, C, *]`, class probabilities.

    Returns:
        A scalar.

    Raises:
        ValueError: shapes that do not fit, or no time step.

    Example:
        >>> import torch
        >>> spikes = torch.tensor([[[1.0, 0.0]], [[1.0, 0.0]]])
        >>> spike_count_cross_entropy(spikes, torch.tensor([0]))
        tensor(0.1269)
    """
    check_sequence("spikes", spikes, "[T, N, C, *]", 3)
    target = class_target(spikes[0], target)
    count = widen(spikes).sum(dim=0)
    if target.is_floating_point():
        target = target.to(count.dtype)
    return narrow(F.cross_entropy(count, target), spikes)

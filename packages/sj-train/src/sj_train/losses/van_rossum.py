"""Van Rossum's distance between spike trains."""

import math

import torch
from torch import Tensor

from sj_train.losses._check import check_sequence, narrow, widen


def van_rossum_distance(spikes: Tensor, target: Tensor, tau: float) -> Tensor:
    r"""
    Squared van Rossum distance of spike trains, the mean over all trains.

    Both trains are filtered with an exponential and compared:

    .. math:: f[t] = e^{-1/\tau} f[t-1] + s[t], \qquad
        D^2 = \frac{1}{\tau} \sum_{t=0}^{T-1} (f[t] - f^*[t])^2

    A small `tau` counts spikes that do not coincide, a large one compares spike counts. The
    square is returned because the root has no gradient where the trains are equal.

    Args:
        spikes: `[T, N, *]`.
        target: the trains wanted, of the same shape.
        tau: time constant of the filter in time steps, greater than 0.

    Returns:
        A scalar.

    Raises:
        ValueError: shapes that differ, `tau` <= 0 or infinite, or no time step.

    Source: van Rossum, A novel spike distance (2001), in discrete time.

    Example:
        >>> import torch
        >>> spikes = torch.tensor([1.0, 0.0, 0.0]).view(3, 1, 1)
        >>> van_rossum_distance(spikes, torch.zeros(3, 1, 1), tau=1.0)
        tensor(1.1537)
    """
    check_sequence("spikes", spikes, "[T, N, *]", 2)
    if spikes.shape != target.shape:
        raise ValueError(
            f"`target` (shape {tuple(target.shape)}) must have the shape of `spikes`, "
            f"{tuple(spikes.shape)}."
        )
    if not 0 < tau < math.inf:
        raise ValueError(f"`tau` (={tau}) must be greater than 0 and finite.")
    # The filter is linear: filtering the difference once is filtering both trains.
    difference = widen(spikes) - widen(target)
    decay = math.exp(-1.0 / tau)
    trace = torch.zeros_like(difference[0])
    total = difference.new_zeros(())
    for step in difference.unbind(0):
        trace = trace * decay + step
        total = total + trace.square().mean()
    return narrow(total / tau, spikes, target)

"""How a batch of images becomes a sequence."""

from __future__ import annotations

import torch
from torch import Tensor

from sj_core.encoding import LatencyEncoder, PoissonEncoder


def encode(x: Tensor, time_steps: int, encoder: str, temporal: bool = False) -> Tensor:
    """Sequence `[T, N, *]` of a batch `[N, *]`, or of samples `[N, T, *]` that have a time axis.

    `direct`: x at every step. `poisson`: each step is 1 with probability x, independently.
    `latency`: one spike per pixel, at step round((T - 1)(1 - x)). The last two need x in [0, 1].

    Example:
        >>> x = torch.tensor([[1.0, 0.5, 0.0]])
        >>> encode(x, 3, "latency").squeeze(1).tolist()
        [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    """
    if temporal:
        return x.transpose(0, 1)
    x_seq = x.expand(time_steps, *x.shape)
    if encoder == "direct":
        return x_seq
    if encoder == "poisson":
        spikes: Tensor = PoissonEncoder(step_mode="m")(x_seq)
        return spikes
    if encoder == "latency":
        return LatencyEncoder(time_steps).encode(x)
    raise ValueError(f"`encoder` (={encoder}) must be direct, poisson or latency.")


def shift(x: Tensor, largest: int, dims: tuple[int, int] = (-2, -1)) -> Tensor:
    """Each sample of `[N, *, H, W]` moved by up to `largest` pixels, zeros moving in.

    Example:
        >>> shift(torch.ones(2, 1, 4, 4), 0).sum().item()
        32.0
    """
    if largest == 0 or len(x) == 0:
        return x
    for dim in dims:
        size = x.shape[dim]
        offset = torch.randint(-largest, largest + 1, (len(x),), device=x.device)
        source = torch.arange(size, device=x.device) - offset.unsqueeze(1)
        inside = (source >= 0) & (source < size)
        view = [len(x)] + [1] * (x.ndim - 1)
        view[dim] = size
        index = source.clamp(0, size - 1).view(view).expand(x.shape)
        x = x.gather(dim, index) * inside.view(view).to(x.dtype)
    return x

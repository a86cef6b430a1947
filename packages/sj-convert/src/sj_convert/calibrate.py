"""Statistics of activations over a whole loader: quantiles, histograms, the best threshold."""

import torch
from torch import Tensor


def by_channel(x: Tensor) -> Tensor:
    """`x` of shape `(N, C, *)` as `(C, N * prod(*))`."""
    return x.movedim(1, 0).flatten(1)


def quantile(rows: Tensor, q: float) -> Tensor:
    """The `q`-quantile (linear interpolation) of each row, for rows of any length.

    The same definition as `torch.quantile`, which stops at 2^24 values.
    """
    n = rows.shape[-1]
    position = q * (n - 1)
    low = min(int(position), n - 1)
    # topk and not kthvalue, whose time is quadratic on sorted data.
    upper = 2 * low >= n
    k = n - low if upper else min(low + 2, n)
    part = rows.topk(k, largest=upper, sorted=False).values
    ends = part.topk(min(2, k), largest=not upper).values
    a, b = (ends[..., 0], ends[..., -1]) if upper else (ends[..., -1], ends[..., 0])
    return torch.lerp(a, b, position - low)


class Histogram:
    """Counts of the values of several rows, each over its own ``[-R, R)``, for data in batches.

    R is a power of two that doubles when a larger value comes; pairs of bins then merge exactly,
    so the result does not depend on the order of the batches.
    """

    def __init__(self, rows: int, bins: int, device: torch.device) -> None:
        self.counts = torch.zeros(rows, bins, dtype=torch.int64, device=device)
        self.limit = torch.zeros(rows, 1, dtype=torch.float64, device=device)

    @property
    def width(self) -> Tensor:
        """Width of a row's bins, `(rows, 1)`."""
        return self.limit * (2 / self.counts.shape[1])

    def update(self, values: Tensor) -> None:
        """Count `values` of shape `(rows, n)`."""
        values = values.double()
        self._grow(values.abs().amax(1, keepdim=True))
        rows, bins = self.counts.shape
        width = self.width
        width.masked_fill_(width == 0, 1.0)  # a row of zeros so far
        index = (values / width).floor_().long().add_(bins // 2).clamp_(0, bins - 1)
        index += bins * torch.arange(rows, device=values.device).unsqueeze(1)
        counted = torch.bincount(index.flatten(), minlength=rows * bins)
        self.counts += counted.view(rows, bins)

    def _grow(self, largest: Tensor) -> None:
        mantissa, exponent = torch.frexp(largest)
        needed = torch.ldexp(torch.ones_like(largest), exponent).masked_fill(mantissa == 0, 0.0)
        rows, bins = self.counts.shape
        quarter = bins // 4
        while bool((grow := (self.limit > 0) & (self.limit < needed)).any()):
            merged = torch.zeros_like(self.counts)
            merged[:, quarter : 3 * quarter] = self.counts.view(rows, bins // 2, 2).sum(2)
            self.counts = torch.where(grow, merged, self.counts)
            self.limit = torch.where(grow, 2 * self.limit, self.limit)
        self.limit = torch.maximum(self.limit, needed)

    def quantile(self, q: float) -> Tensor:
        """The `q`-quantile of each row, to within a bin."""
        total = self.counts.sum(1, keepdim=True)
        rank = q * (total - 1).double() + 0.5
        upto = self.counts.cumsum(1).double()
        bin_ = torch.searchsorted(upto, rank).clamp_(max=self.counts.shape[1] - 1)
        inside = self.counts.gather(1, bin_).double().clamp_(min=1)
        before = upto.gather(1, bin_) - inside
        edge = bin_.double() * self.width - self.limit
        return (edge + (rank - before) / inside * self.width).squeeze(1)


class Quantiles:
    """Quantiles of all values seen: exact up to 2^22 values, then from histograms.

    From then on the error is at most one bin: 2^-15 of the largest value for one row, 2^-12 for
    each of many rows.
    """

    exact_limit = 1 << 22

    def __init__(self) -> None:
        self.parts: list[Tensor] = []
        self.size = 0
        self.histogram: Histogram | None = None

    def update(self, rows: Tensor) -> None:
        if self.histogram is not None:
            self.histogram.update(rows)
            return
        self.parts.append(rows.clone())
        self.size += rows.numel()
        if self.size > self.exact_limit:
            bins = 1 << 16 if rows.shape[0] == 1 else 1 << 13
            self.histogram = Histogram(rows.shape[0], bins, rows.device)
            for part in self.parts:
                self.histogram.update(part)
            self.parts = []

    def value(self, q: float) -> Tensor:
        if self.histogram is not None:
            return self.histogram.quantile(q)
        return quantile(torch.cat(self.parts, 1), q)


def rate_code(a: Tensor, theta: Tensor, T: int, most: int = 1) -> Tensor:
    """What a neuron started at ``theta/2`` makes of a constant activation `a` in `T` steps.

    ``clip(floor(T a / theta + 1/2), 0, most T) theta / T``, with at most `most` spikes per step.
    """
    return torch.floor(a * (T / theta) + 0.5).clamp_(0, most * T) * (theta / T)


def mse_threshold(histogram: Histogram, T: int, most: int = 1, candidates: int = 128) -> Tensor:
    """Threshold of each row that minimises the squared error of `rate_code` at `T` steps.

    The rows' values are those of a ReLU. Searched on a grid up to 1.5 times the row's largest
    value, then refined around the best. A row without a positive value gives 0.
    """
    half = histogram.counts.shape[1] // 2
    counts = histogram.counts[:, half:].double()
    place = torch.arange(half, device=counts.device, dtype=torch.float64)
    a = (place + 0.5) * histogram.width
    a[:, 0] = 0.0  # zeros for the most part: what a silent neuron gives, without error
    last = ((counts[:, 1:] > 0) * place[1:]).amax(1, keepdim=True)
    top = (last + 1) * histogram.width * (last > 0)
    safe = top.clamp(min=torch.finfo(torch.float64).tiny)

    def error(theta: Tensor) -> Tensor:
        return (counts * (rate_code(a, theta, T, most) - a).square_()).sum(1, keepdim=True)

    best = torch.zeros_like(top)
    spread = 1.5 / candidates
    grid = [(i + 1) * spread for i in range(candidates)]
    for fractions in (grid, [(i / 16 - 1) * spread for i in range(33)]):
        tried = [(best + f).clamp(min=spread / 8) for f in fractions]
        errors = torch.cat([error(fraction * safe) for fraction in tried], 1)
        best = torch.cat(tried, 1).gather(1, errors.argmin(1, keepdim=True))
    return (best * top).squeeze(1)

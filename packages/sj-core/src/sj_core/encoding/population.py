"""The population encoder."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from sj_core._checks import as_count, as_float, as_fraction, as_positive
from sj_core.encoding.checks import floating
from sj_core.encoding.stateful import StatefulEncoder, latency_train


class PopulationEncoder(StatefulEncoder):
    """Population coding with Gaussian receptive fields (Bohte et al., 2002).

    Each value is seen by `n` neurons. Neuron i = 1 .. n has its centre at
    `mu_i = x_min + (2i - 3)/2 (x_max - x_min)/(n - 2)` and the width
    `sigma = (x_max - x_min)/(n - 2)/beta`; its response is `r_i = exp(-(x - mu_i)^2/(2 sigma^2))`.
    It fires once, at step `round((T - 1) (1 - r_i))`, and not at all where `r_i < r_min`.

    Shapes: `(N, *)` to `(N, *, n)` per call; `encode`: `(N, *)` to `(T, N, *, n)`;
    `responses`: `(N, *)` to `(N, *, n)`.

    Errors: ValueError if `T` < 1, `n` < 3, `x_max` <= `x_min`, `beta` <= 0 or `r_min` is not in
    [0, 1]; TypeError if `x` is not of a floating dtype.

    Example:
        >>> import torch
        >>> from sj_core.encoding import PopulationEncoder
        >>> encoder = PopulationEncoder(T=5, n=4, x_min=0.0, x_max=1.0, beta=1.0)
        >>> encoder.responses(torch.tensor([0.25])).mul(100).round()
        tensor([[ 61., 100.,  61.,  14.]])
        >>> encoder.encode(torch.tensor([0.25])).argmax(0)
        tensor([[2, 0, 2, 3]])
    """

    def __init__(
        self,
        T: int,
        n: int,
        x_min: float = 0.0,
        x_max: float = 1.0,
        beta: float = 1.5,
        r_min: float = 0.1,
        step_mode: str = "s",
    ) -> None:
        super().__init__(T, step_mode)
        self.n = as_count("n", n, 3)
        self.x_min, self.x_max = as_float("x_min", x_min), as_float("x_max", x_max)
        if not 0 < self.x_max - self.x_min < math.inf:
            raise ValueError(
                f"`x_max` (={x_max}) must be greater than `x_min` (={x_min}), and both finite."
            )
        self.beta = as_positive("beta", beta)
        self.r_min = as_fraction("r_min", r_min)
        self.step = (self.x_max - self.x_min) / (self.n - 2)

    def responses(self, x: Tensor) -> Tensor:
        """Return `r` `(N, *, n)`, the response of every neuron to `x` `(N, *)`."""
        floating(x)
        i = torch.arange(1, self.n + 1, device=x.device, dtype=torch.float64)
        centre = self.x_min + (2 * i - 3) / 2 * self.step
        sigma = self.step / self.beta
        return torch.exp(-0.5 * ((x.double().unsqueeze(-1) - centre) / sigma) ** 2).to(x.dtype)

    def encode(self, x: Tensor) -> Tensor:
        response = self.responses(x)
        steps = ((self.T - 1) * (1.0 - response.double())).round().long()
        return latency_train(steps.masked_fill(response < self.r_min, -1), self.T, x.dtype)

    def extra_repr(self) -> str:
        return (
            f"T={self.T}, n={self.n}, x_min={self.x_min}, x_max={self.x_max}, beta={self.beta}, "
            f"r_min={self.r_min}, step_mode={self.step_mode!r}"
        )

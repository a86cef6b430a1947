"""The weighted phase encoder."""

from __future__ import annotations

import torch
from torch import Tensor

from sj_core._checks import as_count
from sj_core.encoding.checks import in_unit_interval
from sj_core.encoding.stateful import StatefulEncoder


class WeightedPhaseEncoder(StatefulEncoder):
    """Phase coding (Kim et al., "Deep neural networks with weighted spikes", 2018).

    Equation: the `K` phases are the binary digits of `x`: phase k weighs `2^-(k+1)`, and
    `sum_k S[k] 2^-(k+1)` is the largest multiple of `2^-K` that is not above `x`.

    Shapes: `(N, *)` to `(N, *)` per call; `encode`: `(N, *)` to `(K, N, *)`.

    Errors: ValueError if `K` < 1 or if `x` leaves [0, 1 - 2^-K]; TypeError if `x` is not of a
    floating dtype.

    Example:
        >>> import torch
        >>> from sj_core.encoding import WeightedPhaseEncoder
        >>> WeightedPhaseEncoder(K=3).encode(torch.tensor([0.625])).flatten()
        tensor([1., 0., 1.])
    """

    def __init__(self, K: int, step_mode: str = "s") -> None:
        super().__init__(as_count("K", K), step_mode)
        self.K = self.T

    def encode(self, x: Tensor) -> Tensor:
        in_unit_interval(x, 1.0 - 2.0**-self.K, f"1 - 2^-{self.K}")
        rest = x.double()
        phases = []
        for k in range(self.K):
            weight = 2.0 ** -(k + 1)
            fires = rest >= weight
            rest = rest - fires * weight
            phases.append(fires)
        return torch.stack(phases).to(x.dtype)

    def extra_repr(self) -> str:
        return f"K={self.K}, step_mode={self.step_mode!r}"

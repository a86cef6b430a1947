"""Learning rules: how a batch turns into a step of the optimizer."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor

from sj_train.fit.config import FitConfig
from sj_train.fit.online_methods import Fptt, Ottt, Sltt
from sj_train.losses import TETLoss


class Backprop:
    """Backpropagation through time of the cross entropy of the mean output (`bptt`).

    L = CE(1/T sum_t y[t], target)
    """

    automatic = True

    def loss(self, y_seq: Tensor, target: Tensor) -> Tensor:
        """The loss of outputs `[T, N, C]` against classes `[N]`."""
        return F.cross_entropy(y_seq.mean(0), target)

    def state_dict(self) -> dict[str, Any]:
        """Nothing but weights and optimizer has to be kept."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing to take back."""


class Tet(Backprop):
    """Backpropagation through time of the cross entropy at every step (`tet`; Deng et al. 2022)."""

    def __init__(self, lambda_: float) -> None:
        self._loss = TETLoss(lambda_)

    def loss(self, y_seq: Tensor, target: Tensor) -> Tensor:
        value: Tensor = self._loss(y_seq, target)
        return value


def build_method(config: FitConfig) -> Any:
    """The learning rule that `config.method` names."""
    online = {"ottt": Ottt, "sltt": Sltt, "fptt": Fptt}
    if config.method in online:
        return online[config.method](config)
    if config.method == "tet":
        return Tet(config.tet_lambda)
    return Backprop()

"""Learning rules whose memory does not grow with T: OTTT, SLTT and FPTT, from `sj_train.online`."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from sj_train.fit.config import FitConfig
from sj_train.online import (
    fptt_online_training,
    fptt_online_training_init_w_ra,
    ottt_online_training,
    sltt_online_training,
)


class OnlineMethod:
    """A rule that walks through time by itself and steps the optimizer.

    `step` takes a sequence `[T, N, *]` and classes `[N]`, trains `module.net` on them and returns
    the mean loss over time and the outputs `[T, N, C]`, both detached. The loss of one step is its
    cross entropy.
    """

    automatic = False

    def __init__(self, config: FitConfig) -> None:
        self.config = config

    def step(self, module: Any, x_seq: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Trains on one batch."""
        raise NotImplementedError

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs besides weights and optimizer."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes back what `state_dict` gave."""


class Ottt(OnlineMethod):
    """Online training through time (`ottt`; Xiao et al. 2022)."""

    def step(self, module: Any, x_seq: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        args = _batch_first(module, x_seq, target)
        loss, y = ottt_online_training(**args, online=self.config.online)
        return loss, y.transpose(0, 1)


class Sltt(OnlineMethod):
    """Spatial learning through time (`sltt`; Meng et al. 2023), with `sltt_k` SLTT-K."""

    def step(self, module: Any, x_seq: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        args = _batch_first(module, x_seq, target)
        k = self.config.sltt_k or None
        loss, y = sltt_online_training(**args, online=self.config.online, k=k)
        return loss, y.transpose(0, 1)


class Fptt(OnlineMethod):
    """Forward propagation through time (`fptt`; Kag and Saligrama 2021): a step at each t."""

    def __init__(self, config: FitConfig) -> None:
        super().__init__(config)
        self.running_average: list[Tensor] | None = None

    def step(self, module: Any, x_seq: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        optimizer = module.optimizers()
        if self.running_average is None:
            self.running_average = fptt_online_training_init_w_ra(optimizer)
        w_ra = [mean.to(module.device) for mean in self.running_average]
        seen: list[tuple[Tensor, Tensor]] = []

        def loss_of_step(y: Tensor, target_t: Tensor) -> Tensor:
            loss = F.cross_entropy(y, target_t)
            seen.append((loss.detach(), y.detach()))
            return loss

        steps = len(x_seq)
        targets = target.expand(steps, *target.shape)
        fptt_online_training(
            module.net, optimizer, x_seq, targets, loss_of_step, self.config.fptt_alpha, w_ra
        )
        self.running_average = w_ra
        # Each step has a second forward at the new weights; what was learnt from is the first.
        first = seen[::2]
        return torch.stack([loss for loss, _ in first]).mean(), torch.stack([y for _, y in first])

    def state_dict(self) -> dict[str, Any]:
        return {"running_average": self.running_average}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.running_average = state["running_average"]


def _batch_first(module: Any, x_seq: Tensor, target: Tensor) -> dict[str, Any]:
    steps = len(x_seq)

    def loss_of_step(y: Tensor, target_t: Tensor) -> Tensor:
        return F.cross_entropy(y, target_t) / steps

    return {
        "model": module.net,
        "optimizer": module.optimizers(),
        "x_seq": x_seq.transpose(0, 1),
        "target_seq": target.unsqueeze(1).expand(-1, steps),
        "f_loss_t": loss_of_step,
    }

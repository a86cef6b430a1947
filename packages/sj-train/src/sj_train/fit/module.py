"""The LightningModule: a spiking classifier and its training."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn

from sj_core import functional
from sj_train.fit.config import FitConfig
from sj_train.fit.data.sampler import mix_seed
from sj_train.fit.encoders import encode, shift
from sj_train.fit.meter import EpochMeter
from sj_train.fit.methods import build_method
from sj_train.fit.models import build_model
from sj_train.fit.spikes import RateMeter

TRAIN, VAL, TEST = 1, 2, 3


class SpikingClassifier(pl.LightningModule):
    """A spiking network with an encoder before and the mean output over time after it.

    `forward` takes a batch `[N, *shape]` (or `[N, T, *shape]` where the data have a time axis) and
    returns the evidence `[T, N, classes]` at each step; the network is reset before. All random
    numbers of a batch come from the seed, the epoch and the batch's number, so a run that is
    resumed repeats exactly what it would have done.

    Example:
        >>> config = FitConfig(model="mlp", width=8, time_steps=3)
        >>> model = SpikingClassifier(config.to_dict(), shape=[1, 8, 8], classes=10)
        >>> model(torch.rand(2, 1, 8, 8)).shape
        torch.Size([3, 2, 10])
    """

    def __init__(
        self, config: Mapping[str, Any], shape: list[int], classes: int, temporal: bool = False
    ) -> None:
        super().__init__()
        self.save_hyperparameters(
            {
                "config": dict(config),
                "shape": list(shape),
                "classes": classes,
                "temporal": temporal,
            }
        )
        self.config = FitConfig.from_dict(config)
        self.temporal = temporal
        self.net: nn.Module = build_model(self.config, tuple(shape), classes)
        self.method = build_method(self.config)
        self.automatic_optimization = self.method.automatic
        self.largest_shift = min(shape[-2:]) // 8 if self.config.augment and len(shape) == 3 else 0
        functional.set_step_mode(self.net, "m" if self.method.automatic else "s")
        self.rates = RateMeter(self.net)
        self.history: list[dict[str, float]] = []
        self.meter, self.val_meter, self.test_meter = EpochMeter(), EpochMeter(), EpochMeter()
        self.confusion = torch.zeros(classes, classes, dtype=torch.long)

    def kind(self) -> str:
        """What the network is, for people."""
        neuron = "spiking LSTM" if self.config.model == "rnn" else self.config.neuron
        return f"{self.config.model} of {neuron} neurons"

    def encode(self, x: Tensor) -> Tensor:
        """The sequence `[T, N, *shape]` that the network sees for a batch."""
        return encode(x, self.config.time_steps, self.config.encoder, self.temporal)

    def forward(self, x: Tensor) -> Tensor:
        return self.run(self.encode(x.to(next(self.net.parameters()).dtype)))

    def run(self, x_seq: Tensor) -> Tensor:
        """Output `[T, N, classes]` of the reset network for a sequence."""
        functional.reset_net(self.net)
        if not self.automatic_optimization:
            return torch.stack([self.net(x) for x in x_seq])
        if not self.config.compile:
            return _call(self.net, x_seq)
        # One code for whole batches and for the last one, which is shorter.
        torch._dynamo.maybe_mark_dynamic(x_seq, 1)
        y_seq: Tensor = _compiled_call()(self.net, x_seq)
        return y_seq

    def on_train_epoch_start(self) -> None:
        self.meter = EpochMeter(self.device)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        self._seed(TRAIN, batch_idx)
        batches = int(self.trainer.num_training_batches)
        done = self.trainer.current_epoch * batches + batch_idx
        scale = lr_scale(done / (self.config.epochs * batches))
        for group in self.optimizers(use_pl_optimizer=False).param_groups:  # type: ignore[union-attr]
            group["lr"] = self.config.lr * scale

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor | None:
        x, y = batch
        x_seq = self.encode(shift(x, self.largest_shift))
        if self.automatic_optimization:
            y_seq = self.run(x_seq)
            loss = self.method.loss(y_seq, y)
        else:
            functional.reset_net(self.net)
            loss, y_seq = self.method.step(self, x_seq, y)
            functional.reset_net(self.net)
        if not torch.isfinite(loss):
            raise FloatingPointError(
                f"The loss is {loss.item()} in epoch {self.current_epoch + 1}: "
                "lower `--lr`, or set `--clip 1`."
            )
        self.meter.add(loss, y_seq.mean(0), y, self.rates.take())
        return loss if self.automatic_optimization else None

    def _evaluate(self, stage: int, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        self._seed(stage, batch_idx)
        x, y = batch
        y_seq = self.run(self.encode(x))
        logits = y_seq.mean(0)
        loss = nn.functional.cross_entropy(logits, y)
        meter = self.val_meter if stage == VAL else self.test_meter
        meter.add(loss, logits, y, self.rates.take())
        return logits

    def on_validation_epoch_start(self) -> None:
        self.val_meter = EpochMeter(self.device)

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        self._evaluate(VAL, batch, batch_idx)

    def on_validation_epoch_end(self) -> None:
        for name, value in self.val_meter.means(self._sum).items():
            self.log(f"val_{name}", value, rank_zero_only=True, sync_dist=False)

    def on_train_epoch_end(self) -> None:
        row: dict[str, float] = {"epoch": self.current_epoch + 1}
        for name, value in self.meter.means(self._sum).items():
            row[f"train_{name}"] = value
            self.log(f"train_{name}", value, rank_zero_only=True, sync_dist=False)
        row |= {f"val_{name}": v for name, v in self.val_meter.means(self._sum).items()}
        row["lr"] = self.optimizers(use_pl_optimizer=False).param_groups[0]["lr"]  # type: ignore[union-attr]
        self.history.append(row)

    def on_test_epoch_start(self) -> None:
        self.test_meter = EpochMeter(self.device)
        self.confusion = torch.zeros_like(self.confusion, device=self.device)

    def test_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        predicted, classes = self._evaluate(TEST, batch, batch_idx).argmax(1), len(self.confusion)
        cells = (batch[1] * classes + predicted).bincount(minlength=classes**2)
        self.confusion += cells.view(classes, classes)

    def on_test_epoch_end(self) -> None:
        self.confusion = self._sum(self.confusion)
        for name, value in self.test_meter.means(self._sum).items():
            self.log(f"test_{name}", value, rank_zero_only=True, sync_dist=False)

    def _seed(self, stage: int, batch_idx: int) -> None:
        epoch = self.current_epoch if stage == TRAIN else 0
        torch.manual_seed(
            mix_seed(self.config.seed, stage, epoch, batch_idx, self.trainer.global_rank)
        )

    def _sum(self, value: Tensor) -> Tensor:
        total: Tensor = self.trainer.strategy.reduce(value.clone(), reduce_op="sum")
        return total

    def configure_optimizers(self) -> torch.optim.Optimizer:
        config = self.config
        params = [p for p in self.net.parameters() if p.requires_grad]
        groups = [
            # Scales, shifts and time constants are no weights: decay would pull them to zero.
            {"params": [p for p in params if p.ndim > 1], "weight_decay": config.weight_decay},
            {"params": [p for p in params if p.ndim <= 1], "weight_decay": 0.0},
        ]
        if config.optimizer == "sgd":
            return torch.optim.SGD(groups, lr=config.lr, momentum=0.9)
        return torch.optim.AdamW(groups, lr=config.lr)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["history"] = [dict(row) for row in self.history]
        checkpoint["method"] = self.method.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.history = [dict(row) for row in checkpoint["history"]]
        self.method.load_state_dict(checkpoint["method"])


def _call(net: nn.Module, x_seq: Tensor) -> Tensor:
    y_seq: Tensor = net(x_seq)
    return y_seq


@cache
def _compiled_call() -> Any:
    # `net.compile()` would compile the layers of an nn.Sequential one by one, up to the limit of
    # recompilations; a compiled module would have other names in its checkpoints.
    # No size but the batch's changes within a run: none is made symbolic that was not marked.
    return torch.compile(_call, dynamic=False)


def lr_scale(progress: float, warmup: float = 0.1) -> float:
    """Share of the peak learning rate after a share `progress` of all batches.

    Linear warm-up, then a cosine to zero: a function of progress alone, so there is no scheduler
    whose state could be lost.

    Example:
        >>> [round(lr_scale(p), 2) for p in (0.0, 0.06, 0.1, 0.55, 1.0)]
        [0.05, 0.62, 1.0, 0.5, 0.0]
    """
    if progress < warmup:
        return 0.05 + 0.95 * progress / warmup
    return 0.5 * (1 + math.cos(math.pi * (progress - warmup) / (1 - warmup)))

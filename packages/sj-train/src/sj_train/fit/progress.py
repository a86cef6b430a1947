"""The progress bar: loss, accuracy and firing rate while training, a line kept per epoch."""

from __future__ import annotations

import sys
import time
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import TQDMProgressBar
from lightning.pytorch.callbacks.progress.tqdm_progress import Tqdm

from sj_train.fit.spikes import spiking_layers

BAR = "{desc}{percentage:3.0f}% |{bar:16}| {n_fmt}/{total_fmt} [{elapsed}, {rate_fmt}{postfix}]"


class EpochBar(TQDMProgressBar):
    """One bar per epoch with the means so far; after the epoch the validation's stand beside.

    Where the output is no terminal, only the finished bar of each epoch is written.
    """

    BAR_FORMAT = BAR

    def __init__(self) -> None:
        self.live = sys.stdout.isatty()
        super().__init__(refresh_rate=4, leave=True)
        self._started = 0.0

    def _hidden(self) -> Tqdm:
        return Tqdm(disable=True)

    # The bars of a few validation batches would only flicker; an epoch makes its own bar.
    init_train_tqdm = init_validation_tqdm = init_test_tqdm = _hidden
    init_predict_tqdm = init_sanity_tqdm = _hidden

    def on_train_epoch_start(self, trainer: pl.Trainer, *_: Any) -> None:
        self._started = time.perf_counter()
        self.train_progress_bar = Tqdm(
            desc=self._title(trainer),
            total=int(self.total_train_batches),
            disable=self.is_disabled or not self.live or not trainer.is_global_zero,
            leave=True,
            file=sys.stdout,
            dynamic_ncols=True,
            bar_format=BAR,
        )

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        shown = self.get_metrics(trainer, pl_module)
        bar, total = self.train_progress_bar, int(self.total_train_batches)
        if not bar.disable:
            bar.n = total
            bar.set_postfix(shown)
            bar.close()
        elif trainer.is_global_zero and not self.is_disabled:
            line = Tqdm.format_meter(
                total,
                total,
                time.perf_counter() - self._started,
                prefix=self._title(trainer),
                bar_format=BAR,
                postfix=", ".join(f"{name}={value}" for name, value in shown.items()),
            )
            print(line, flush=True)

    def get_metrics(self, trainer: pl.Trainer, pl_module: Any) -> dict[str, Any]:
        train, val = pl_module.meter.means(), pl_module.val_meter.means()
        if not train:
            return {}
        shown = {
            "loss": f"{train['loss']:.3f}",
            "acc": f"{100 * train['accuracy']:.1f}%",
        }
        if spiking_layers(pl_module.net):
            shown["rate"] = f"{train['rate']:.3f}"
        if val and trainer.fit_loop.epoch_loop.batch_progress.is_last_batch:
            shown["val_acc"] = f"{100 * val['accuracy']:.1f}%"
        return shown

    @staticmethod
    def _title(trainer: pl.Trainer) -> str:
        width = len(str(trainer.max_epochs))
        return f"epoch {trainer.current_epoch + 1:{width}d}/{trainer.max_epochs} "

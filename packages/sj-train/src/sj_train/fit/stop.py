"""Where training stops when it is asked to."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl

from sj_train._interrupt import heard


class StopBeforeBatch(pl.Callback):
    """Raises the interrupt that was heard before the next batch of any kind.

    There no lock is held, so that Lightning can close its loggers and end the other processes.
    """

    def on_train_batch_start(self, *_: Any) -> None:
        _stop_if_asked()

    def on_validation_batch_start(self, *_: Any) -> None:
        _stop_if_asked()

    def on_test_batch_start(self, *_: Any) -> None:
        _stop_if_asked()


def _stop_if_asked() -> None:
    if heard():
        raise KeyboardInterrupt

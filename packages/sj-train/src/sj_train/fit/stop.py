"""How a run stops before its end: by an interrupt, or for another process of it is lost."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import lightning.pytorch as pl
import torch

from sj_train._interrupt import INTERRUPTED, asking, heard


class Interrupted(Exception):
    """Training was stopped from outside, by Ctrl-C or SIGTERM; `code` is the exit status."""

    def __init__(self, code: int) -> None:
        super().__init__()
        self.code = code


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


@contextmanager
def interruptible(trainer: pl.Trainer) -> Iterator[None]:
    """Raises `Interrupted`, or ConnectionError where another process of the run is lost."""
    # Lightning turns an interrupt into an exit of the process, or into a silent return.
    with asking(lambda: _end_the_others(trainer)) as interrupt:
        try:
            yield
        except SystemExit as stop:
            if not trainer.interrupted:
                raise
            raise Interrupted(_status(trainer)) from stop
        except Exception as error:
            # What an interrupt of the other processes of a run looks like from this one.
            if interrupt.heard:
                raise Interrupted(INTERRUPTED) from error
            if lost := _lost_another(trainer, error):
                _end_the_others(trainer)
                raise ConnectionError(f"Another process of the run {lost}.") from error
            raise
        if interrupt.heard or trainer.interrupted or trainer.received_sigterm:
            raise Interrupted(_status(trainer))


def _status(trainer: pl.Trainer) -> int:
    return 128 + signal.SIGTERM if trainer.received_sigterm else INTERRUPTED


def _lost_another(trainer: pl.Trainer, error: Exception) -> str:
    if trainer.world_size == 1 or not isinstance(error, RuntimeError):
        return ""
    if any(_ends(process) for process in getattr(trainer.strategy.launcher, "procs", [])):
        return "has ended"
    # gloo has no error of its own.
    if isinstance(error, torch.distributed.DistError) or "gloo" in str(error):
        return f"cannot be reached: {str(error).splitlines()[0].split('. ')[0].rstrip('.')}"
    return ""


def _ends(process: subprocess.Popen[bytes]) -> bool:
    # Its connections are closed a little before it counts as ended.
    try:
        return process.wait(0.5) is not None
    except subprocess.TimeoutExpired:
        return False


def _end_the_others(trainer: pl.Trainer) -> None:
    if launcher := trainer.strategy.launcher:
        launcher.kill(getattr(signal, "SIGKILL", signal.SIGTERM))

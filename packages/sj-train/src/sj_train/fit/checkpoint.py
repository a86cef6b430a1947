"""Checkpoints that survive a kill at any moment and tell when they are damaged."""

from __future__ import annotations

import os
import pickle
import shutil
import zipfile
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO

from sj_train.fit.errors import RunError
from sj_train.fit.history import replacing, write_metrics

LAST, PREVIOUS, BEST = "last.ckpt", "previous.ckpt", "best.ckpt"
NEXT = "next.ckpt"
FOLDER = "checkpoints"
CONTENT: dict[str, type] = {"state_dict": dict, "hyper_parameters": dict, "history": list}
# What training, unlike a test, goes on from too.
PROGRESS: dict[str, type] = {"optimizer_states": list, "loops": dict, "callbacks": dict}
PROGRESS |= {"method": dict, "pytorch-lightning_version": str}


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The content of a checkpoint, tensors on the CPU; no code in it is ever run.

    Raises:
        RunError: the file is missing, cut short, has flipped bits, or holds more than data.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if broken := archive.testzip():
                raise RunError(f"Checkpoint `{path}` is damaged: wrong checksum of `{broken}`.")
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise RunError(f"Checkpoint `{path}` is missing.") from error
    except (zipfile.BadZipFile, pickle.UnpicklingError, OSError, EOFError, RuntimeError) as error:
        if isinstance(error, RunError):
            raise
        reason = (str(error).strip().splitlines() or ["unreadable"])[0].rstrip(".")
        raise RunError(f"Checkpoint `{path}` is damaged: {reason}.") from error
    _check(content, CONTENT, path)
    if not all(isinstance(row, dict) and "epoch" in row for row in content["history"] or [None]):
        raise RunError(f"Checkpoint `{path}` is damaged: its `history` tells of no epoch.")
    return content


def _check(content: Any, wanted: dict[str, type], path: Path) -> None:
    for name, kind in wanted.items():
        if not isinstance(content, dict) or not isinstance(content.get(name), kind):
            raise RunError(f"Checkpoint `{path}` is damaged: it holds no `{name}`.")


def load_weights(module: Any, content: dict[str, Any], path: Path) -> None:
    """Puts the weights of a checkpoint's content into a module.

    Raises:
        RunError: they are of another network than the settings of the run describe.
    """
    try:
        module.load_state_dict(content["state_dict"])
    except RuntimeError as error:
        raise RunError(f"Checkpoint `{path}` does not fit the settings of its run.") from error


def newest_intact(run: Path) -> tuple[Path | None, list[str]]:
    """The newest readable checkpoint of a run, and what was wrong with newer ones.

    None for a run that was stopped before its first checkpoint, or has no intact one: it can only
    start anew, and with the same seed still ends with the same weights.

    Raises:
        RunError: there is one that may not be read, which starting anew would replace.
    """
    complaints = []
    for name in (LAST, PREVIOUS, BEST):
        path = run / FOLDER / name
        if not path.exists():
            continue
        if not os.access(path, os.R_OK):
            raise RunError(f"Checkpoint `{path}` may not be read: see to its permissions.")
        try:
            read_checkpoint(path)
        except RunError as error:
            complaints.append(str(error))
        else:
            return path, complaints
    return None, complaints


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes to a temporary file, flushes it to the disk, renames; reads with `weights_only`."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None
    ) -> None:
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        with replacing(target) as temporary, temporary.open("wb") as file:
            torch.save(checkpoint, file)
            file.flush()
            os.fsync(file.fileno())

    def load_checkpoint(
        self, path: Any, map_location: Any = None, weights_only: bool | None = True
    ) -> dict[str, Any]:
        content = read_checkpoint(Path(path))
        _check(content, PROGRESS, Path(path))
        return content


class RunCheckpoint(Checkpoint):
    """After every epoch: metrics.csv, and the last, the one before and the best checkpoint.

    Best is the highest accuracy on the validation data, then the lowest loss there. The settings
    are written where training begins, so that a run that is resumed keeps those given anew, and a
    start that fails changes none.
    """

    def __init__(self, run: Path) -> None:
        self.run = run
        self.best: list[float] = []

    def path(self, name: str) -> Path:
        """Where the checkpoint `name` of this run is."""
        return self.run / FOLDER / name

    def on_train_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        if trainer.is_global_zero:
            pl_module.config.save(self.run / "config.json")

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        row = pl_module.history[-1]
        score = [row.get("val_accuracy", 0.0), -row.get("val_loss", 0.0)]
        is_best = not self.best or score >= self.best
        if is_best:
            self.best = score
        trainer.save_checkpoint(self.path(NEXT))
        if not trainer.is_global_zero:
            return
        try:
            self._keep(is_best, pl_module.history)
        except OSError:
            # It is of no use to a run that goes on, which needs the space once more.
            self.path(NEXT).unlink(missing_ok=True)
            raise

    def _keep(self, is_best: bool, history: list[dict[str, float]]) -> None:
        # The last checkpoint is replaced at the very end: a run killed before goes on from the one
        # before it, and does the epoch, and all this, once more.
        if is_best:
            duplicate(self.path(NEXT), self.path(BEST))
        write_metrics(self.run / "metrics.csv", history)
        if self.path(LAST).exists():
            duplicate(self.path(LAST), self.path(PREVIOUS))
        os.replace(self.path(NEXT), self.path(LAST))

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best = state_dict["best"]


def duplicate(source: Path, target: Path) -> None:
    """Copies a file in place of another one, with no moment without either.

    A copy and no second name: damage to one of them must not reach the other.
    """
    with replacing(target) as temporary:
        shutil.copyfile(source, temporary)

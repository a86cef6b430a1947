"""Lightning's Trainer as the settings want it, without the messages meant for its own users."""

from __future__ import annotations

import importlib.util
import logging
import warnings
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException

from sj_train.fit.checkpoint import AtomicCheckpointIO, RunCheckpoint
from sj_train.fit.config import FitConfig
from sj_train.fit.errors import ConfigError
from sj_train.fit.progress import EpochBar
from sj_train.fit.stop import StopBeforeBatch

PRECISION = {"32": "32-true", "64": "64-true"}


def quieten_lightning() -> None:
    """Silences what Lightning says about its own defaults; its errors still pass."""
    for name in ("lightning.pytorch", "lightning.fabric", "pytorch_lightning"):
        logging.getLogger(name).setLevel(logging.ERROR)
    # It says which process has ended, right before it ends this one.
    launcher = "lightning.fabric.strategies.launchers.subprocess_script"
    logging.getLogger(launcher).setLevel(logging.INFO)
    for message in (
        ".*does not have many workers.*",
        ".*The number of training batches.*",
        ".*Checkpoint directory .* exists.*",
        ".*`isinstance.treespec, LeafSpec.` is deprecated.*",
        ".*You are using `torch.load` with `weights_only=False`.*",
        ".*resuming from a checkpoint that ended.*",
        ".*barrier.* using the device under current context.*",
        # The means are summed over processes before they are logged.
        ".*It is recommended to use `self.log.*sync_dist.*",
        ".*Trying to infer the `batch_size`.*",
        ".*tensorboardX.*",
        # The command says it once, by the name of its flag; torch for each of three loaders.
        "This DataLoader will create .* worker processes in total.*",
    ):
        warnings.filterwarnings("ignore", message=message)


def make_trainer(config: FitConfig, run: Path, *, progress: bool = True, log: bool = True) -> Any:
    """A Trainer that writes its checkpoints into `run`.

    Raises:
        ConfigError: the device is not there or lacks the precision, or Lightning does not know the
            strategy.
    """
    quieten_lightning()
    device = accelerator(config)
    if config.precision != precision_here(config):
        # Lightning would take bfloat16 instead, and the records of the run would tell otherwise.
        rule = "needs a GPU: take bf16-mixed on the CPU"
        raise ConfigError("precision", config.precision, rule)
    bar = [EpochBar()] if progress else []
    try:
        return pl.Trainer(
            accelerator=device,
            devices=config.devices,
            strategy=config.strategy,
            precision=PRECISION.get(config.precision, config.precision),  # type: ignore[arg-type]
            max_epochs=config.epochs,
            gradient_clip_val=config.clip
            if config.clip and config.method in ("bptt", "tet")
            else None,
            callbacks=[*bar, RunCheckpoint(run), StopBeforeBatch()],
            plugins=[AtomicCheckpointIO()],
            logger=tensorboard(run) if log else False,
            default_root_dir=run,
            enable_progress_bar=progress,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,
            log_every_n_steps=1_000_000,
            deterministic="warn",
        )
    except (ValueError, MisconfigurationException) as error:
        reason = str(error).strip().splitlines()[0].rstrip(".")
        raise ConfigError("strategy", config.strategy, f"cannot be used: {reason}") from error


def accelerator(config: FitConfig) -> str:
    """Lightning's name of the device; `auto` takes a CUDA GPU where there is one."""
    available = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if config.device == "auto":
        return "cuda" if available["cuda"] else "cpu"
    if config.device not in available:
        raise ConfigError("device", config.device, "must be auto, cpu, cuda or mps")
    if not available[config.device]:
        found = ", ".join(name for name, there in available.items() if there)
        raise ConfigError("device", config.device, f"is not available here; there is {found}")
    return config.device


def precision_here(config: FitConfig) -> str:
    """The precision of a run where it is tested: weights are float32, only a GPU has 16-mixed."""
    lacking = config.precision == "16-mixed" and accelerator(config) == "cpu"
    return "32" if lacking else config.precision


def tensorboard(run: Path) -> Any:
    """Lightning's TensorBoard logger where the extra `tensorboard` is installed, else False."""
    from lightning.pytorch.loggers import TensorBoardLogger

    if importlib.util.find_spec("tensorboard") is None:
        return False
    return TensorBoardLogger(run, name="tensorboard", version="", default_hp_metric=False)

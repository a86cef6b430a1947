"""One run from start to end: data, network, training, test, figure."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch

from sj_train._interrupt import RUN_VARIABLE
from sj_train.fit.checkpoint import BEST, FOLDER, load_weights, newest_intact, read_checkpoint
from sj_train.fit.config import FitConfig
from sj_train.fit.data import FitData
from sj_train.fit.errors import ConfigError, RunError
from sj_train.fit.figure import draw_run
from sj_train.fit.history import write_json
from sj_train.fit.lock import sole_writer
from sj_train.fit.module import SpikingClassifier
from sj_train.fit.stop import Interrupted as Interrupted, interruptible
from sj_train.fit.trainer import make_trainer


def new_run(config: FitConfig, out: str | None) -> Path:
    """Makes the run folder: `out`, or the next free number in `runs`.

    Raises:
        ConfigError: `out` is empty, or no folder can be made there.
        RunError: `out` holds a run already, or no folder can be made in `runs`.
    """
    if inherited := os.environ.get(RUN_VARIABLE):
        # The other processes of a distributed run are started with this environment.
        return Path(inherited)
    if out is not None:
        run = Path(out)
        if not out:
            raise ConfigError("output", out, "must name a folder")
        try:
            taken = (run / "config.json").exists()
            run.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            rule = f"cannot be made a folder ({error.strerror})"
            raise ConfigError("output", out, rule) from error
        if taken:
            raise RunError(f"`--output` (={run}) holds a run already: resume it, or name another.")
    else:
        data = Path(config.data).stem
        stem = f"{data}-{config.model}-{config.neuron}-{config.method}"
        run = _next_free(Path("runs"), stem)
    config.save(run / "config.json")
    return run


def _next_free(parent: Path, stem: str) -> Path:
    number = 1
    while True:
        run = parent / f"{stem}-{number:03d}"
        try:
            run.mkdir(parents=True)
        except FileExistsError:
            number += 1
        except OSError as error:
            raise RunError(
                f"`{run}` cannot be made a folder ({error.strerror}): name another by `--output`."
            ) from error
        else:
            return run


def build(config: FitConfig) -> tuple[SpikingClassifier, FitData]:
    """The network and the data of a run; weights are drawn from the seed."""
    # Says no to a device or strategy before the data are read and a folder is made.
    make_trainer(config, Path(), progress=False, log=False)
    data = FitData(config)
    splits = data.splits
    torch.manual_seed(config.seed)
    module = SpikingClassifier(
        config.to_dict(), list(splits.shape), len(splits.classes), splits.temporal
    )
    return module, data


def fit(
    module: SpikingClassifier,
    data: FitData,
    run: Path,
    *,
    resume: bool = False,
    progress: bool = True,
    say: Any = print,
    picture: bool = True,
) -> dict[str, Any]:
    """Trains, tests the best checkpoint, writes `results.json` and, asked for, `figure.png`.

    Raises:
        ConnectionError: another process of the run has ended.
        Interrupted: stopped by Ctrl-C or SIGTERM.
        RunError: the checkpoint to go on from is of another network, or another process trains
            into the folder.
    """
    with sole_writer(run):
        return _fit(module, data, run, resume, progress, say, picture)


def _fit(
    module: SpikingClassifier,
    data: FitData,
    run: Path,
    resume: bool,
    progress: bool,
    say: Any,
    picture: bool,
) -> dict[str, Any]:
    checkpoint = None
    if os.environ.get("LOCAL_RANK", "0") != "0":
        say = _silent
    if resume:
        checkpoint, complaints = newest_intact(run)
        for complaint in complaints:
            say(complaint)
        if checkpoint:
            load_weights(module, read_checkpoint(checkpoint), checkpoint)
            say(f"Going on from `{checkpoint}`.")
        elif complaints:
            say("No intact checkpoint: from the start.")
    trainer = make_trainer(module.config, run, progress=progress)
    os.environ[RUN_VARIABLE] = str(run.resolve())
    try:
        if trainer.is_global_zero:
            say(describe(module, data, run))
        started = time.perf_counter()
        _train(trainer, module, data, checkpoint)
        seconds = time.perf_counter() - started
    finally:
        os.environ.pop(RUN_VARIABLE, None)
    results = {**test(trainer, module, data, run), "seconds": round(seconds, 2)}
    if trainer.is_global_zero:
        write_json(run / "results.json", results)
        if picture:
            draw_run(module, data, results, run / "figure.png")
    return results


def _silent(message: str) -> None:
    """What other processes than the first have to say: the same, so nothing."""


def _train(
    trainer: pl.Trainer, module: SpikingClassifier, data: FitData, checkpoint: Path | None
) -> None:
    with interruptible(trainer):
        trainer.fit(module, datamodule=data, ckpt_path=checkpoint)


def test(
    trainer: pl.Trainer, module: SpikingClassifier, data: FitData, run: Path
) -> dict[str, Any]:
    """Loads the best checkpoint into the network and tests it."""
    path = run / FOLDER / BEST
    best = read_checkpoint(path)
    load_weights(module, best, path)
    with interruptible(trainer):
        trainer.test(module, datamodule=data, verbose=False)
    metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
    return {
        "test_accuracy": metrics["test_accuracy"],
        "test_loss": metrics["test_loss"],
        "firing_rate": metrics["test_rate"],
        "best_epoch": int(best["history"][-1]["epoch"]),
        "epochs": int(trainer.current_epoch),
        "parameters": sum(p.numel() for p in module.net.parameters()),
    }


def describe(module: SpikingClassifier, data: FitData, run: Path) -> str:
    """What is going to be trained, in two lines."""
    config, splits = module.config, data.splits
    parts = [len(part) for part in (splits.train, splits.val, splits.test)]  # type: ignore[arg-type]
    parameters = sum(p.numel() for p in module.net.parameters())
    return (
        f"{splits.name}: {parts[0]} training, {parts[1]} validation, {parts[2]} test samples of"
        f" shape {list(splits.shape)}\n"
        f"{module.kind()}, {parameters:,} parameters,"
        f" T={config.time_steps}, {config.encoder} encoding, {config.method}, seed {config.seed}\n"
        f"run folder: {run}"
    )

"""`sj-train convert`: an ANN twin of a run, trained on the same data and converted."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sj_train.fit.checkpoint import BEST, FOLDER, load_weights, read_checkpoint
from sj_train.fit.config import FitConfig
from sj_train.fit.data import FitData
from sj_train.fit.errors import ConfigError, require
from sj_train.fit.evaluate import evaluate
from sj_train.fit.figure import curve_of_conversion
from sj_train.fit.history import write_json
from sj_train.fit.models import build_twin
from sj_train.fit.module import SpikingClassifier
from sj_train.fit.run import fit, test
from sj_train.fit.spikes import RateMeter
from sj_train.fit.trainer import make_trainer, precision_here


class TwinClassifier(SpikingClassifier):
    """The network of a run with ReLUs in place of its neurons, trained in the same way.

    `forward` takes `[N, *shape]` and returns `[1, N, classes]`: one step, for there is no time.
    """

    def __init__(self, config: Any, shape: list[int], classes: int, temporal: bool = False) -> None:
        super().__init__(config, shape, classes, temporal)
        self.rates.remove()
        self.net = build_twin(self.config, tuple(shape), classes)
        self.rates = RateMeter(self.net)

    def kind(self) -> str:
        return f"{self.config.model} of ReLUs"

    def run(self, x_seq: Tensor) -> Tensor:
        y: Tensor = self.net(x_seq[0])
        return y.unsqueeze(0)


def twin_config(config: FitConfig) -> FitConfig:
    """The settings of a run as its twin needs them: one step, backpropagation, no strategy."""
    if config.encoder != "direct":
        raise ConfigError("encoder", config.encoder, "must be direct to compare with a conversion")
    return dataclasses.replace(
        config,
        time_steps=1,
        method="bptt",
        sltt_k=0,
        # One sample at one step is too little for BatchNorm.
        batch_size=None if config.batch_size is None else max(2, config.batch_size),
        devices=1,
        strategy="auto",
        precision=precision_here(config),
        compile=False,
    )


def convert(
    run: Path, time_steps: int, *, progress: bool = True, say: Any = print
) -> dict[str, Any]:
    """Trains the twin (once; it is kept in `RUN/ann`), converts it and tests at each time step.

    Writes `RUN/convert.json` and `RUN/convert.png`.

    Raises:
        ConfigError: `time_steps` below 1, or a run that has no twin.
        ImportError: sj-convert is not installed.
        RunError: no finished run there.
    """
    if time_steps < 1:
        raise ConfigError("time_steps", time_steps, "must be at least 1")
    library: Any = require("sj_convert", "sj-convert", "`sj-train convert`")
    config = FitConfig.load(run / "config.json")
    settings = twin_config(config)
    own_data = FitData(config)
    if own_data.splits.temporal:
        raise ConfigError("data", config.data, "holds sequences, which an ANN twin cannot see")
    own = evaluate(run)
    data = FitData(settings, own_data.splits)
    twin = _trained_twin(settings, data, run / "ann", progress, say)
    ann_accuracy = _accuracy(twin, data, run / "ann")
    calibration = [x for x, _ in data.train_dataloader()]
    converter = library.Converter.recommended(calibration, T=time_steps, progress=progress)
    snn = converter(twin.net.eval())
    accuracy = library.accuracy_over_time(snn, data.test_dataloader(), time_steps)
    results = {
        "ann_accuracy": ann_accuracy,
        "accuracy_over_time": accuracy,
        "trained_accuracy_over_time": own["accuracy_over_time"],
    }
    write_json(run / "convert.json", results)
    title = f"{data.splits.name}: {config.model} converted, {config.neuron} trained directly"
    curve_of_conversion(results, title, run / "convert.png")
    return results


def _trained_twin(
    config: FitConfig, data: FitData, folder: Path, progress: bool, say: Any
) -> TwinClassifier:
    torch.manual_seed(config.seed)
    splits = data.splits
    twin = TwinClassifier(config.to_dict(), list(splits.shape), len(splits.classes))
    if (folder / "results.json").exists():
        path = folder / FOLDER / BEST
        load_weights(twin, read_checkpoint(path), path)
        say(f"ANN twin of an earlier conversion: {folder}")
    else:
        folder.mkdir(parents=True, exist_ok=True)
        config.save(folder / "config.json")
        say("Training the ANN twin.")
        fit(twin, data, folder, resume=True, progress=progress, say=say, picture=False)
    return twin


def _accuracy(twin: TwinClassifier, data: FitData, folder: Path) -> float:
    trainer = make_trainer(twin.config, folder, progress=False, log=False)
    return float(test(trainer, twin, data, folder)["test_accuracy"])


def report(results: dict[str, Any]) -> str:
    """The accuracies as a table."""
    ann = results["ann_accuracy"]
    lines = ["time step   converted   to the ANN   trained directly"]
    trained = results["trained_accuracy_over_time"]
    for step, accuracy in enumerate(results["accuracy_over_time"], 1):
        direct = f"{100 * trained[step - 1]:.2f} %" if step <= len(trained) else "-"
        lines.append(
            f"{step:9d}   {100 * accuracy:7.2f} %   {100 * (accuracy - ann):+8.2f}   {direct:>16s}"
        )
    lines.append(f"{'ANN':>9s}   {100 * ann:7.2f} %")
    return "\n".join(lines)

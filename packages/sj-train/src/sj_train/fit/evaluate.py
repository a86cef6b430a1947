"""`sj-train eval`: the accuracy of a trained run, in total and after each time step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from sj_train.fit.checkpoint import BEST, FOLDER, load_weights, read_checkpoint
from sj_train.fit.config import FitConfig
from sj_train.fit.data import FitData
from sj_train.fit.errors import RunError
from sj_train.fit.history import write_json
from sj_train.fit.module import SpikingClassifier
from sj_train.fit.run import test
from sj_train.fit.spikes import layer_titles, record_spikes
from sj_train.fit.trainer import make_trainer, precision_here


def load_run(run: Path, device: str | None = None) -> tuple[SpikingClassifier, FitData]:
    """The network of a run with the weights of its best checkpoint, and its data.

    Raises:
        RunError: no run there, its best checkpoint is missing or damaged, or the data are others.
    """
    config = FitConfig.load(run / "config.json")
    if device is not None:
        config.device = device
    path = run / FOLDER / BEST
    content = read_checkpoint(path)
    data = FitData(config)
    _check_data(data, content["hyper_parameters"], config.data)
    module = SpikingClassifier(**{**content["hyper_parameters"], "config": config.to_dict()})
    load_weights(module, content, path)
    return module, data


def _check_data(data: FitData, trained_on: dict[str, Any], name: str) -> None:
    now = [list(data.splits.shape), len(data.splits.classes)]
    then = [trained_on.get("shape"), trained_on.get("classes")]
    if now != then:
        raise RunError(
            f"`{name}` (samples of shape {now[0]}, {now[1]} classes) has changed since the run was"
            f" trained on it (shape {then[0]}, {then[1]} classes)."
        )


def evaluate(run: Path, device: str | None = None) -> dict[str, Any]:
    """Tests a run anew: accuracy, accuracy after 1..T steps, loss, rates per layer."""
    module, data = load_run(run, device)
    config = module.config
    config.devices, config.strategy = 1, "auto"
    config.precision = precision_here(config)
    trainer = make_trainer(config, run, progress=False, log=False)
    results = test(trainer, module, data, run)
    over_time, rates = _over_time(module, data)
    results |= {"accuracy_over_time": over_time, "firing_rates": rates}
    del results["epochs"]
    return results


@torch.no_grad()
def _over_time(module: SpikingClassifier, data: FitData) -> tuple[list[float], dict[str, float]]:
    module.eval()
    steps = module.config.time_steps
    right = torch.zeros(steps)
    spikes: dict[str, list[float]] = {}
    total = 0
    torch.manual_seed(module.config.seed)
    for x, y in data.test_dataloader():
        with record_spikes(module.net) as records:
            evidence = module(x.to(module.device)).cpu().float()
        right += (evidence.cumsum(0).argmax(2) == y).sum(1)
        total += len(y)
        for name, seen in records.items():
            count = spikes.setdefault(name, [0.0, 0.0])
            count[0] += sum(float(part.sum()) for part in seen)
            count[1] += sum(part.numel() for part in seen)
    titles = layer_titles(module.net)
    rates = {titles[name]: fired / max(1.0, size) for name, (fired, size) in spikes.items()}
    return (right / total).tolist(), rates


def keep(results: dict[str, Any], run: Path) -> str:
    """Writes `RUN/eval.json`; what is wrong where it cannot, as on a run that one may only read."""
    path = run / "eval.json"
    try:
        write_json(path, results)
    except OSError as error:
        return f"`{path}` cannot be written ({error.strerror or error})."
    return ""


def report(results: dict[str, Any]) -> str:
    """The results as lines for people."""
    lines = [
        f"test accuracy {100 * results['test_accuracy']:.2f} %, loss {results['test_loss']:.4f},"
        f" firing rate {results['firing_rate']:.3f}, {results['parameters']:,} parameters",
        "",
        "time step   accuracy",
    ]
    for step, accuracy in enumerate(results["accuracy_over_time"], 1):
        lines.append(f"{step:9d}   {100 * accuracy:6.2f} %")
    lines += ["", "layer          firing rate"]
    lines += [f"{name:14s} {rate:11.4f}" for name, rate in results["firing_rates"].items()]
    return "\n".join(lines)

"""The picture of a run: learning curve, spikes of one image, rates per layer, confusion matrix."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sj_train.fit.data import FitData
from sj_train.fit.errors import require
from sj_train.fit.history import replacing
from sj_train.fit.panels import (
    GRID,
    INK,
    MUTED,
    TRAIN,
    VAL,
    confusion_matrix,
    decision,
    firing_rates,
    learning_curve,
    raster,
    style,
)
from sj_train.fit.spikes import as_sequence, layer_titles, record_spikes


def draw_run(module: Any, data: FitData, results: dict[str, Any], path: Path) -> None:
    """Draws the run into a PNG: learning curve, raster and evidence, rates, confusion matrix."""
    figure_module: Any = require("matplotlib.figure", "'sj-train[fit]'", "The figure")
    figure = figure_module.Figure(figsize=(13, 10.4), dpi=130, layout="constrained")
    figure.set_facecolor("white")
    figure.get_layout_engine().set(w_pad=0.12, h_pad=0.12)
    grid = figure.add_gridspec(2, 2, width_ratios=(1, 1.15), height_ratios=(1.3, 1))
    left, right = grid[0, 0].subgridspec(2, 1), grid[0, 1].subgridspec(2, 1, height_ratios=(2.6, 1))
    config, classes = module.config, data.splits.classes
    figure.suptitle(
        f"{data.splits.name}: {module.kind()}, T = {config.time_steps},"
        f" {config.method}: {100 * results['test_accuracy']:.1f} % of the test samples right",
        fontsize=14,
        color=INK,
        fontweight="bold",
    )
    sample, label = data.splits.test[0]
    layers, evidence = _observe(module, sample)
    top = figure.add_subplot(left[0])
    learning_curve(top, module.history, "accuracy", results["best_epoch"])
    bottom = figure.add_subplot(left[1], sharex=top)
    learning_curve(bottom, module.history, "loss", results["best_epoch"])
    spikes = figure.add_subplot(right[0])
    raster(spikes, layers, sample)
    decision(figure.add_subplot(right[1], sharex=spikes), evidence, classes, int(label))
    firing_rates(figure.add_subplot(grid[1, 0]), _mean_rates(module, data))
    confusion_matrix(figure.add_subplot(grid[1, 1]), module.confusion.cpu().numpy(), classes)
    save_figure(figure, path)


def curve_of_conversion(results: dict[str, Any], title: str, path: Path) -> None:
    """Draws accuracy over time steps of a converted network beside the ANN's line into a PNG."""
    figure_module: Any = require("matplotlib.figure", "'sj-train[fit]'", "The figure")
    figure = figure_module.Figure(figsize=(8, 5), dpi=130, layout="constrained")
    ax = figure.add_subplot()
    style(ax, title)
    ann = 100 * results["ann_accuracy"]
    ax.axhline(ann, color=INK, lw=1.4, ls=(0, (5, 3)), label=f"ANN, {ann:.1f} %")
    for name, colour, label in (
        ("accuracy_over_time", TRAIN, "converted"),
        ("trained_accuracy_over_time", VAL, "trained directly"),
    ):
        values = [100 * value for value in results[name]]
        text = f"{label}, {values[-1]:.1f} % at T={len(values)}"
        ax.plot(range(1, len(values) + 1), values, color=colour, lw=2, marker="o", ms=4, label=text)
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.set_ylim(top=101)
    ax.set_xlabel("time step", color=MUTED)
    ax.set_ylabel("test accuracy (%)", color=MUTED)
    ax.grid(color=GRID, lw=0.8)
    ax.legend(frameon=False, fontsize=9.5, loc="lower right", labelcolor=INK)
    save_figure(figure, path)


def save_figure(figure: Any, path: Path) -> None:
    """Writes a figure as PNG, whole or not at all."""
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png")


@torch.no_grad()
def _observe(module: Any, sample: Tensor) -> tuple[dict[str, Tensor], Tensor]:
    module.eval()
    torch.manual_seed(module.config.seed)
    with record_spikes(module.net) as records:
        evidence = module(sample.unsqueeze(0).to(module.device)).cpu()
    module.rates.take()
    titles = layer_titles(module.net)
    layers = {titles[k]: as_sequence(seen)[:, 0].float() for k, seen in records.items() if seen}
    return layers, evidence[:, 0].float()


@torch.no_grad()
def _mean_rates(module: Any, data: FitData, batches: int = 8) -> dict[str, Tensor]:
    module.eval()
    sums: dict[str, Tensor] = {}
    count = 0
    torch.manual_seed(module.config.seed)
    for number, (x, _) in enumerate(data.test_dataloader()):
        if number == batches:
            break
        with record_spikes(module.net) as records:
            module(x.to(module.device))
        module.rates.take()
        for name, seen in records.items():
            if not seen:
                continue
            rate = as_sequence(seen).float().mean(0).sum(0)
            sums[name] = sums.get(name, 0) + rate
        count += len(x)
    titles = layer_titles(module.net)
    return {titles[name]: value / max(1, count) for name, value in sums.items()}

"""The picture of a run: learning curve, spikes of one image, rates per layer, confusion matrix."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sj_train.fit.data import FitData
from sj_train.fit.errors import require
from sj_train.fit.spikes import as_sequence, layer_titles, record_spikes

INK, MUTED, GRID = "#22262b", "#6b727b", "#e3e6ea"
TRAIN, VAL, RIGHT = "#3568a8", "#d9702c", "#3f8f5f"
SHOWN_PER_LAYER = 36


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
        f"{data.splits.name}: {config.model} of {config.neuron} neurons, T = {config.time_steps},"
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
    figure.savefig(path)


def _style(ax: Any, title: str) -> None:
    ax.set_title(title, fontsize=11.5, color=INK, loc="left", pad=10)
    ax.tick_params(colors=MUTED, labelsize=9)
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        ax.spines[side].set_color(GRID)


def learning_curve(
    ax: Any, history: list[dict[str, float]], quantity: str, best_epoch: int
) -> None:
    """Accuracy in per cent, or loss on a logarithmic axis, over epochs."""
    percent = quantity == "accuracy"
    _style(ax, "Learning curve" if percent else "")
    epochs = [int(row["epoch"]) for row in history]
    for split, colour, name in (("train", TRAIN, "training"), ("val", VAL, "validation")):
        values = [
            (100 if percent else 1) * row.get(f"{split}_{quantity}", np.nan) for row in history
        ]
        ax.plot(epochs, values, color=colour, lw=2, label=name, marker="o", ms=3)
    ax.axvline(best_epoch, color=MUTED, lw=1, ls=":", label="best epoch")
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.grid(color=GRID, lw=0.8)
    if percent:
        ax.set_ylabel("accuracy (%)", color=MUTED)
        ax.set_ylim(top=101)
        ax.legend(frameon=False, fontsize=9, loc="lower right", labelcolor=INK)
        ax.tick_params(labelbottom=False)
    else:
        ax.set_ylabel("loss", color=MUTED)
        ax.set_yscale("log")
        ax.set_xlabel("epoch", color=MUTED)


def raster(ax: Any, layers: dict[str, Tensor], sample: Tensor) -> None:
    """Spikes of some neurons of each layer at each step, with the image they answer to."""
    _style(ax, f"Spikes for one test sample ({SHOWN_PER_LAYER} of the active neurons per layer)")
    base, ticks, steps = 0, [], 1
    colours = _palette(len(layers))
    for spikes, colour in zip(layers.values(), colours, strict=True):
        flat = spikes.flatten(1).numpy()
        steps = len(flat)
        active = np.nonzero(flat.any(0))[0]
        picked = np.linspace(0, len(active) - 1, min(SHOWN_PER_LAYER, len(active))).round()
        times, rows = np.nonzero(flat[:, active[picked.astype(int)]])
        ax.hlines(base + rows, times + 0.62, times + 1.38, color=colour, lw=1.6)
        ticks.append(base + SHOWN_PER_LAYER / 2)
        base += SHOWN_PER_LAYER + 6
    ax.set_yticks(ticks, list(layers))
    for tick, colour in zip(ax.get_yticklabels(), colours, strict=True):
        tick.set_color(colour)
    ax.set_xlim(0.4, steps + 0.6)
    ax.set_ylim(base, -4)
    ax.tick_params(labelbottom=False)
    if steps <= 20:
        ax.set_xticks(range(1, steps + 1))
    if sample.ndim >= 3 and min(sample.shape[-2:]) > 1:
        _inset(ax, sample)


def _inset(ax: Any, sample: Tensor) -> None:
    image = sample.mean(0) if sample.ndim > 3 else sample
    pixels = image.permute(1, 2, 0).numpy() if image.shape[0] == 3 else image.sum(0).numpy()
    inset = ax.inset_axes((1.02, 0.72, 0.17, 0.28))
    inset.set_axis_off()
    inset.imshow(pixels, cmap="gray_r", interpolation="nearest", aspect="equal")


def decision(ax: Any, evidence: Tensor, classes: list[str], label: int) -> None:
    """Probability of each class after the steps so far, from the mean output up to then."""
    steps = np.arange(1, len(evidence) + 1)
    mean = evidence.cumsum(0) / torch.arange(1, len(evidence) + 1).unsqueeze(1)
    shares = 100 * mean.softmax(1).numpy()
    answer = int(mean[-1].argmax())
    _style(ax, f"Its class is {classes[label]}; the network says {classes[answer]}")
    colours = {label: VAL, answer: TRAIN}
    if label == answer:
        colours = {label: RIGHT}
    for number in range(len(classes)):
        colour, width = colours.get(number, GRID), 2.2 if number in colours else 1.2
        ax.plot(steps, shares[:, number], color=colour, lw=width, marker="o", ms=2 * width**0.5)
        if number in colours:
            end = (steps[-1] + 0.1, shares[-1, number])
            ax.text(*end, classes[number], color=colour, va="center")
    ax.set_ylim(-4, 104)
    ax.set_ylabel("%", color=MUTED)
    ax.set_xlabel("time step", color=MUTED)


def firing_rates(ax: Any, rates: dict[str, Tensor]) -> None:
    """Mean rate of each layer over test samples, with the share of neurons that never fire."""
    _style(ax, "Firing rate per layer (spikes per neuron and step)")
    means = [float(rate.mean()) for rate in rates.values()]
    silent = [float((rate == 0).float().mean()) for rate in rates.values()]
    rows = range(len(means))
    ax.barh(rows, means, color=_palette(len(means)), height=0.62)
    top = max([*means, 0.01])
    for row, (mean, quiet) in enumerate(zip(means, silent, strict=True)):
        text = f" {mean:.3f}" + (f", {100 * quiet:.0f} % silent" if quiet else "")
        ax.text(mean + 0.01 * top, row, text, va="center", fontsize=9, color=INK)
    ax.set_yticks(list(rows), list(rates))
    ax.invert_yaxis()
    ax.set_xlim(0, 1.35 * top)
    ax.grid(axis="x", color=GRID, lw=0.8)
    ax.set_axisbelow(True)


def confusion_matrix(ax: Any, counts: np.ndarray[Any, Any], classes: list[str]) -> None:
    """Rows are true classes, columns what the network said; shade is the share of the row."""
    wrong = int(counts.sum() - np.trace(counts))
    _style(ax, f"Confusion matrix ({wrong} of {int(counts.sum())} wrong)")
    share = counts / np.maximum(1, counts.sum(1, keepdims=True))
    ax.imshow(np.sqrt(share), cmap="Blues", vmin=0, vmax=1)
    size = len(classes)
    if size <= 20:
        for row, column in zip(*np.nonzero(counts), strict=True):
            colour = "white" if row == column else "#b3261e"
            value = int(counts[row, column])
            ax.text(column, row, value, ha="center", va="center", fontsize=9, color=colour)
        angle = 0 if max(map(len, classes)) <= 3 else 45
        ax.set_xticks(range(size), classes, rotation=angle)
        ax.set_yticks(range(size), classes)
    ax.set_xlabel("network's answer", color=MUTED)
    ax.set_ylabel("true class", color=MUTED)
    for spine in ax.spines.values():
        spine.set_visible(False)
    ax.tick_params(length=0)


def curve_of_conversion(results: dict[str, Any], title: str, path: Path) -> None:
    """Draws accuracy over time steps of a converted network beside the ANN's line into a PNG."""
    figure_module: Any = require("matplotlib.figure", "'sj-train[fit]'", "The figure")
    figure = figure_module.Figure(figsize=(8, 5), dpi=130, layout="constrained")
    ax = figure.add_subplot()
    _style(ax, title)
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
    figure.savefig(path)


def _palette(count: int) -> list[Any]:
    colormaps: Any = require("matplotlib", "'sj-train[fit]'", "The figure")
    return [
        colormaps.colormaps["viridis"](value) for value in np.linspace(0.08, 0.82, max(1, count))
    ]


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

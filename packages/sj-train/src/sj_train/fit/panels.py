"""The panels of a run's picture, each drawn into matplotlib axes that it is given."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from sj_train.fit.errors import require

INK, MUTED, GRID = "#22262b", "#6b727b", "#e3e6ea"
TRAIN, VAL, RIGHT = "#3568a8", "#d9702c", "#3f8f5f"
SHOWN_PER_LAYER = 36


def style(ax: Any, title: str) -> None:
    """The look that all panels share, with a title."""
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
    style(ax, "Learning curve" if percent else "")
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
        _log_axis(ax)
        ax.set_xlabel("epoch", color=MUTED)


def _log_axis(ax: Any) -> None:
    """A logarithmic axis with plain numbers, where matplotlib's own are multiples of powers."""
    ticker: Any = require("matplotlib.ticker", "'sj-train[fit]'", "The figure")
    base: Any = ticker.LogFormatterSciNotation

    class Plain(base):  # type: ignore[misc]
        def __call__(self, x: float, pos: int | None = None) -> str:
            # Which ticks have a label at all depends on the range, and is the formatter's choice.
            return f"{x:g}" if super().__call__(x, pos) else ""

    if not any((line.get_ydata() > 0).any() for line in ax.lines[:2]):
        return  # A single class leaves nothing to lose.
    ax.set_yscale("log")
    ax.yaxis.set_major_formatter(Plain())
    ax.yaxis.set_minor_formatter(Plain())
    ax.tick_params(which="minor", colors=MUTED, labelsize=9)


def raster(ax: Any, layers: dict[str, Tensor], sample: Tensor) -> None:
    """Spikes of some neurons of each layer at each step, with the image they answer to."""
    style(ax, f"Spikes for one test sample (up to {SHOWN_PER_LAYER} active neurons per layer)")
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
    style(ax, f"Its class is {classes[label]}; the network says {classes[answer]}")
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
    ax.set_ylabel("probability (%)", color=MUTED)
    ax.set_xlabel("time step", color=MUTED)


def firing_rates(ax: Any, rates: dict[str, Tensor]) -> None:
    """Mean rate of each layer over test samples, with the share of neurons that never fire."""
    style(ax, "Firing rate per layer (spikes per neuron and step)")
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
    style(ax, f"Confusion matrix ({wrong} of {int(counts.sum())} wrong)")
    share = counts / np.maximum(1, counts.sum(1, keepdims=True))
    ax.imshow(np.sqrt(share), cmap="Blues", vmin=0, vmax=1)
    size = len(classes)
    if size <= 20:
        for row, column in zip(*np.nonzero(counts), strict=True):
            dark = share[row, column] > 0.36
            colour = "white" if dark else INK if row == column else "#7f1d1d"
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


def _palette(count: int) -> list[Any]:
    colormaps: Any = require("matplotlib", "'sj-train[fit]'", "The figure")
    return [
        colormaps.colormaps["viridis"](value) for value in np.linspace(0.08, 0.82, max(1, count))
    ]

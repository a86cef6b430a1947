import numpy as np
import pytest

pytest.importorskip("lightning", reason="needs the extra sj-train[fit]")
pytest.importorskip("matplotlib", reason="needs the extra sj-train[fit]")

from matplotlib import colormaps, colors
from matplotlib.figure import Figure

from sj_train.fit.panels import confusion_matrix, learning_curve


@pytest.mark.parametrize("losses", [(2.25, 1.98, 1.7, 1.48), (2.3, 0.4, 0.011)])
def test_losses_of_any_range_have_plain_numbers(losses):
    figure = Figure()
    ax = figure.add_subplot()
    history = [
        {"epoch": n + 1, "train_loss": loss, "val_loss": loss} for n, loss in enumerate(losses)
    ]
    learning_curve(ax, history, "loss", best_epoch=1)
    figure.draw_without_rendering()
    low, high = ax.get_ylim()
    ticks = [*ax.yaxis.get_major_ticks(), *ax.yaxis.get_minor_ticks()]
    labels = [t.label1.get_text() for t in ticks if low <= t.get_loc() <= high]
    labels = [text for text in labels if text]
    assert len(labels) >= 2
    for text in labels:
        assert f"{float(text):g}" == text


def test_a_loss_of_nothing_has_a_curve():
    # Of a single class; matplotlib warns of a logarithm that is nowhere defined.
    ax = Figure().add_subplot()
    learning_curve(ax, [{"epoch": 1, "train_loss": 0.0}], "loss", best_epoch=1)
    assert ax.get_yscale() == "linear"


def luminance(colour):
    red, green, blue = (
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colors.to_rgb(colour)
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_every_count_of_the_confusion_matrix_can_be_read():
    # Row by row from all right to nearly all wrong.
    counts = np.array(
        [
            [20 - k if k == c else k if c == (k + 1) % 20 else 0 for c in range(20)]
            for k in range(20)
        ]
    )
    ax = Figure().add_subplot()
    confusion_matrix(ax, counts, [str(k) for k in range(20)])
    assert len(ax.texts) == np.count_nonzero(counts)
    for text in ax.texts:
        column, row = text.get_position()
        shade = colormaps["Blues"](np.sqrt(counts[row, column] / counts[row].sum()))
        one, other = sorted((luminance(text.get_color()), luminance(shade)))
        # The contrast ratio of WCAG 2.1 for large text is 3.
        assert (other + 0.05) / (one + 0.05) >= 3, text.get_text()

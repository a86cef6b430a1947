"""Accuracy of a spiking classifier at every number of time steps, and its figure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from sj_convert.loader import device_of, input_names, inputs_of, label_of
from sj_convert.modules import check_steps
from sj_core import functional

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def accuracy_over_time(snn: nn.Module, loader: Iterable[Any], T: int) -> list[float]:
    """Fraction of right answers after 1, 2, ..., T time steps, in one pass over `loader`.

    The input is given at every step; the answer after t steps is the largest entry of the output
    summed over them. `snn` takes single steps or, in step mode 'm', the whole sequence at once. It
    runs in eval mode and is reset before each batch and at the end; its training flags are kept.

    Shapes: batches ``(x (N, *), y (N,))``, or dicts with such entries; `snn` gives ``(N, K)`` per
    step.

    Raises:
        ValueError: `T` < 1 or an empty loader.
        TypeError: a batch without labels.

    Example:
        >>> from sj_convert import Converter
        >>> ann = nn.Sequential(nn.Linear(2, 2, bias=False), nn.ReLU())
        >>> _ = ann[0].weight.data.copy_(torch.eye(2))
        >>> x, y = torch.tensor([[0.9, 0.4], [0.3, 0.8]]), torch.tensor([0, 1])
        >>> snn = Converter([x], mode="max")(ann)
        >>> accuracy_over_time(snn, [(x, y)], T=3)
        [0.5, 1.0, 1.0]
    """
    check_steps(T)
    device = device_of(snn)
    names, needed = input_names(snn)
    training = {module: module.training for module in snn.modules()}
    right = torch.zeros(T, dtype=torch.int64, device="cpu")
    count = 0
    snn.eval()
    try:
        with torch.no_grad():
            for batch in loader:
                inputs = [
                    x.to(device) if isinstance(x, Tensor) else x
                    for x in inputs_of(batch, names, needed)
                ]
                y = label_of(batch).to(device)
                functional.reset_net(snn)
                right += _right_answers(snn, inputs, y, T)
                count += len(y)
    finally:
        functional.reset_net(snn)
        for module, flag in training.items():
            module.training = flag
    if count == 0:
        raise ValueError("`loader` gave no batch; it must hold data.")
    return [n / count for n in right.tolist()]


def _right_answers(snn: nn.Module, inputs: Sequence[Any], y: Tensor, T: int) -> Tensor:
    mode = getattr(snn, "step_mode", None)
    if mode is None:
        modes = (getattr(module, "step_mode", None) for module in snn.modules())
        mode = next((m for m in modes if m is not None), "s")
    if mode == "m":
        repeated = [x.expand(T, *x.shape) if isinstance(x, Tensor) else x for x in inputs]
        sums = snn(*repeated).cumsum(0)
        return (sums.argmax(-1) == y).sum(1).cpu()
    total: Any = 0.0
    right = []
    for _ in range(T):
        total = total + snn(*inputs)
        right.append((total.argmax(-1) == y).sum())
    return torch.stack(right).cpu()


def plot(
    accuracy: Sequence[float],
    ann_accuracy: float | None = None,
    *,
    ax: Axes | None = None,
    label: str = "SNN",
    title: str | None = None,
) -> Axes:
    """Draw accuracy over time steps, beside the original network's as a line; return the Axes.

    Args:
        accuracy: fractions for 1, 2, ..., T steps, as `accuracy_over_time` returns them.
        ann_accuracy: the original network's, or None.
        ax: where to draw; None: a new figure.
        label: the curve's name in the legend.
        title: of the axes.

    Raises:
        ImportError: matplotlib is missing (``pip install 'sj-convert[plot]'``).
        ValueError: `accuracy` is empty.

    Example:
        >>> import matplotlib
        >>> matplotlib.use("agg")
        >>> axes = plot([0.4, 0.9, 0.97], 0.98)
        >>> axes.get_xlabel()
        'time steps'
    """
    if len(accuracy) == 0:
        raise ValueError("`accuracy` (=[]) must hold at least one value.")
    if ax is None:
        try:
            from matplotlib import pyplot
        except ImportError as error:
            raise ImportError(
                "`plot` needs matplotlib: run `pip install 'sj-convert[plot]'`."
            ) from error
        ax = pyplot.subplots(figsize=(5, 3.2), layout="constrained")[1]
    steps = range(1, len(accuracy) + 1)
    marker = "o" if len(accuracy) <= 64 else None
    ax.plot(steps, [100 * a for a in accuracy], marker=marker, markersize=3.5, label=label)
    if ann_accuracy is not None:
        ax.axhline(
            100 * ann_accuracy,
            color="black",
            linestyle="--",
            linewidth=1,
            label=f"ANN ({100 * ann_accuracy:.2f} %)",
        )
    ax.locator_params(axis="x", integer=True)
    ax.set_xlabel("time steps")
    ax.set_ylabel("accuracy (%)")
    if title is not None:
        ax.set_title(title)
    ax.grid(alpha=0.3)
    ax.legend(loc="lower right")
    return ax

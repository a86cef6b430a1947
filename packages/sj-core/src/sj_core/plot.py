"""Plots of spikes, voltages and surrogates; each draws on one matplotlib Axes and returns it.

They need matplotlib: `pip install "sj-core[plot]"`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from sj_core._checks import as_float
from sj_core.surrogate import SurrogateFunctionBase, heaviside

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def _axes(ax: Axes | None) -> Axes:
    if ax is not None:
        return ax
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(
            'The plots need matplotlib: run `pip install "sj-core[plot]"`.'
        ) from error
    return plt.subplots(layout="constrained")[1]


def _table(name: str, x: Any, rank: int, shape: str) -> Tensor:
    if not isinstance(x, Tensor):
        raise TypeError(f"`{name}` ({type(x).__name__}) must be a tensor.")
    if x.dim() != rank or x.numel() == 0:
        raise ValueError(
            f"`{name}` (shape {tuple(x.shape)}) must be of shape {shape}; choose one sample, and "
            "flatten what is left."
        )
    return x.detach().to("cpu", torch.float64)


def _number(name: str, value: Any) -> float:
    if isinstance(value, Tensor) and value.numel() == 1:
        return float(value)
    return as_float(name, value)


def spike_raster(
    spikes: Tensor, ax: Axes | None = None, *, title: str = "Spikes", color: str = "black"
) -> Axes:
    """Draw every spike as a tick: time steps to the right, neurons upwards.

    Shapes: `spikes` is `(T, neurons)`; what is not 0 is a spike.

    Errors: ValueError for another rank or no element; ImportError without matplotlib.

    Example:
        >>> import torch
        >>> from sj_core import plot
        >>> ax = plot.spike_raster((torch.rand(20, 8) < 0.3).float())
        >>> ax.get_xlabel()
        'time step'
    """
    table = _table("spikes", spikes, 2, "(T, neurons)")
    ax = _axes(ax)
    steps, neurons = table.shape
    ax.eventplot(
        [table[:, i].nonzero().flatten().tolist() for i in range(neurons)],
        lineoffsets=list(range(neurons)),
        linelengths=0.8,
        linewidths=max(0.6, min(3.0, 160.0 / steps)),
        colors=color,
    )
    ax.set_xlim(-0.5, steps - 0.5)
    ax.set_ylim(-0.7, neurons - 0.3)
    ax.set(xlabel="time step", ylabel="neuron", title=title)
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.yaxis.get_major_locator().set_params(integer=True)
    return ax


def membrane(
    v_seq: Tensor,
    v_threshold: float = 1.0,
    spikes: Tensor | None = None,
    v_reset: float | None = None,
    ax: Axes | None = None,
    *,
    title: str = "Membrane potential",
) -> Axes:
    """Draw the voltage of one neuron, its threshold (dashed), and its spikes above it.

    Shapes: `v_seq`, and `spikes` if given, are `(T,)`. `v_reset` is drawn (dotted) if given.

    Errors: ValueError for another rank, no element or two lengths; TypeError for a `v_threshold` or
    `v_reset` that is no number; ImportError without matplotlib.

    Example:
        >>> import torch
        >>> from sj_core import neuron, plot
        >>> node = neuron.LIFNode(step_mode="m", store_v_seq=True)
        >>> spikes = node(torch.full((20, 1), 1.2))
        >>> plot.membrane(node.v_seq[:, 0], node.v_threshold, spikes[:, 0]).get_ylabel()
        'V'
    """
    voltage = _table("v_seq", v_seq, 1, "(T,)")
    fired = None if spikes is None else _table("spikes", spikes, 1, "(T,)")
    if fired is not None and fired.shape != voltage.shape:
        raise ValueError(
            f"`spikes` (of {len(fired)} steps) must have the steps of `v_seq` ({len(voltage)})."
        )
    v_threshold = _number("v_threshold", v_threshold)
    v_reset = None if v_reset is None else _number("v_reset", v_reset)
    ax = _axes(ax)
    steps = list(range(len(voltage)))
    ax.plot(steps, voltage.tolist(), color="tab:blue", marker=".", label="V after reset")
    ax.axhline(v_threshold, color="tab:red", linestyle="--", linewidth=1, label="threshold")
    if v_reset is not None:
        ax.axhline(v_reset, color="gray", linestyle=":", linewidth=1, label="reset")
    if fired is not None:
        low, high = min(float(voltage.min()), 0.0), max(float(voltage.max()), v_threshold)
        top = high + 0.12 * (high - low or 1.0)
        times = fired.nonzero().flatten().tolist()
        ax.vlines(times, v_threshold, top, color="black", linewidth=1.5, label="spike")
    ax.set(xlabel="time step", ylabel="V", title=title)
    ax.xaxis.get_major_locator().set_params(integer=True)
    # Beside the curve: inside, it would hide a part of it.
    ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False, fontsize="small")
    return ax


def firing_rate_heatmap(
    spikes: Tensor, ax: Axes | None = None, *, title: str = "Firing rate", cmap: str = "viridis"
) -> Axes:
    """Draw the firing rate of every neuron of a layer as a map.

    Equation: `rate = sum_t S[t] / T`.

    Shapes: `spikes` is `(T, H, W)`, or `(T, neurons)`, drawn as rows of a square.

    Errors: ValueError for another rank or no element; ImportError without matplotlib.

    Example:
        >>> import torch
        >>> from sj_core import plot
        >>> ax = plot.firing_rate_heatmap((torch.rand(20, 8, 8) < 0.3).float())
        >>> ax.images[0].get_array().shape
        (8, 8)
    """
    if isinstance(spikes, Tensor) and spikes.dim() == 2:
        rate = _table("spikes", spikes, 2, "(T, neurons)").mean(0)
        width = int(-(-(rate.numel() ** 0.5) // 1))
        padding = rate.new_full((-rate.numel() % width,), float("nan"))
        rate = torch.cat([rate, padding]).view(-1, width)
    else:
        rate = _table("spikes", spikes, 3, "(T, H, W) or (T, neurons)").mean(0)
    ax = _axes(ax)
    shown = ax.imshow(rate.tolist(), vmin=0.0, cmap=cmap, interpolation="nearest")
    if ax.figure is not None:
        ax.figure.colorbar(shown, ax=ax, label="spikes per step")
    ax.set(title=title, xticks=[], yticks=[])
    return ax


def surrogate(
    function: SurrogateFunctionBase,
    ax: Axes | None = None,
    *,
    low: float = -2.5,
    high: float = 2.5,
    title: str | None = None,
) -> Axes:
    """Draw a surrogate: Theta(x), its primitive g(x) where it has one, and g'(x).

    Errors: TypeError if `function` is no surrogate; ValueError unless `low` < `high`; ImportError
    without matplotlib.

    Example:
        >>> from sj_core import plot, surrogate
        >>> [line.get_label() for line in plot.surrogate(surrogate.ATan()).lines]
        ['spike', 'primitive', 'gradient']
    """
    if not isinstance(function, SurrogateFunctionBase):
        raise TypeError(f"`function` ({type(function).__name__}) must be a surrogate.")
    if not _number("low", low) < _number("high", high):
        raise ValueError(f"`low` (={low}) must be less than `high` (={high}).")
    ax = _axes(ax)
    x = torch.linspace(low, high, 1001, dtype=torch.float64)
    params = function.params()
    ax.plot(x.tolist(), heaviside(x).tolist(), color="lightgray", linewidth=2, label="spike")
    if function.has_primitive:
        ax.plot(x.tolist(), function.primitive(x, *params).tolist(), label="primitive")
    gradient = function.derivative(x, *params).tolist()
    ax.plot(x.tolist(), gradient, color="tab:orange", label="gradient")
    shown = ", ".join(
        f"{name}={value:g}" for name, value in zip(function.names, params, strict=True)
    )
    ax.set(xlabel="x = H - v_threshold", title=title or f"{type(function).__name__}({shown})")
    return ax

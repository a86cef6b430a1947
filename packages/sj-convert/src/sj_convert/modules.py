"""What stands around a neuron of a converted network: the hook that finds a scale, the scaler."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from sj_convert.calibrate import Histogram, Quantiles, by_channel, mse_threshold, quantile
from sj_core.base import StepModule

MODES = "'max', a percentile such as '99.9%', a number in (0, 1], or 'mse'"
# The smallest normal number of float16: a scale that is positive in every dtype.
TINY_SCALE = 2.0**-14


class Statistic(NamedTuple):
    """A parsed mode: `kind` is 'fraction' (of the largest), 'percentile' or 'mse'."""

    kind: str
    value: float


def parse_mode(mode: Any) -> Statistic:
    """The statistic that `mode` names; `ValueError` that lists the modes otherwise."""
    if isinstance(mode, str):
        if mode.lower() == "max":
            return Statistic("fraction", 1.0)
        if mode.lower() == "mse":
            return Statistic("mse", 0.0)
        if mode.endswith("%"):
            try:
                percent = float(mode[:-1])
            except ValueError:
                percent = math.nan
            if 0 < percent <= 100:
                return Statistic("percentile", percent / 100)
    elif isinstance(mode, int | float) and not isinstance(mode, bool) and 0 < mode <= 1:
        return Statistic("fraction", float(mode))
    raise ValueError(f"`mode` (={mode!r}) must be {MODES}.")


def check_steps(T: Any) -> int:
    """`T` as a number of time steps."""
    if isinstance(T, bool) or not isinstance(T, int):
        raise TypeError(f"`T` (={T!r}) must be an int, the number of time steps.")
    if T < 1:
        raise ValueError(f"`T` (={T}) must be at least 1.")
    return T


class VoltageHook(nn.Module):
    r"""Record the scale of the activations that pass, and return them unchanged.

    With :math:`s_t` the statistic of batch t (the largest activation, a percentile with linear
    interpolation, or a fraction of the largest), the scale is :math:`s_1` after the first batch and
    then ``scale = (1 - momentum) * scale + momentum * s_t``. ``momentum=None`` gives the statistic
    of all batches together, whatever their order (percentiles are exact up to 2^22 values, then
    read from a fine histogram). ``'mse'`` always looks at all batches: the threshold theta that
    minimises the mean of ``(clip(floor(T a / theta + 1/2), 0, T) theta / T - a)^2``.

    The scale is updated only while this module is in training mode. ``scale`` (a scalar, or one
    value per channel) and ``num_batches_tracked`` are buffers.

    Shapes: ``(N, C, *)`` in and out; any shape where `channel_wise` is False.

    Args:
        scale: value before the first batch.
        momentum: weight of the newest batch in [0, 1], or None.
        mode: 'max', 'p%' with p in (0, 100], a number in (0, 1], or 'mse'.
        channel_wise: one scale per channel (axis 1).
        T: time steps that 'mse' is to be best for.
        most_spikes: spikes a neuron may give in a step, for 'mse'.

    Raises:
        ValueError: an unknown mode, 'mse' without `T`, a momentum outside [0, 1], or activations
            that are not finite.

    Rueckauer et al., "Conversion of continuous-valued deep networks to efficient event-driven
    networks for image classification" (2017), for the percentiles.

    Example:
        >>> hook = VoltageHook(momentum=0.5)
        >>> for batch in ([0.0, 2.0], [1.0, 4.0]):
        ...     _ = hook(torch.tensor(batch))
        >>> hook.scale
        tensor(3.)
    """

    scale: Tensor
    num_batches_tracked: Tensor

    def __init__(
        self,
        scale: float = 1.0,
        momentum: float | None = 0.1,
        mode: str | float = "Max",
        *,
        channel_wise: bool = False,
        T: int | None = None,
        most_spikes: int = 1,
    ) -> None:
        super().__init__()
        self._statistic = parse_mode(mode)
        check_momentum(momentum)
        if self._statistic.kind == "mse" and T is None:
            raise ValueError("`T` (=None) must be the number of time steps for `mode='mse'`.")
        self.mode = mode
        self.momentum = momentum
        self.channel_wise = bool(channel_wise)
        self.T = None if T is None else check_steps(T)
        self.most_spikes = most_spikes
        self._record: Histogram | Quantiles | None = None
        self._stale = False
        self.register_buffer("scale", torch.tensor(float(scale)))
        self.register_buffer("num_batches_tracked", torch.tensor(0))

    def __getattr__(self, name: str) -> Any:
        # A statistic of all batches is worked out when it is asked for, not after every batch.
        if name == "scale":
            self._refresh()
        return super().__getattr__(name)

    def _save_to_state_dict(self, *args: Any, **kwargs: Any) -> None:
        self._refresh()
        super()._save_to_state_dict(*args, **kwargs)

    def _refresh(self) -> None:
        if not self.__dict__.get("_stale"):
            return
        record, old = self._record, self._buffers["scale"]
        assert old is not None
        if isinstance(record, Histogram):
            assert self.T is not None
            value = mse_threshold(record, self.T, self.most_spikes)
        else:
            assert record is not None
            value = record.value(self._statistic.value)
        self._buffers["scale"] = self._shaped(value.to(old.dtype))
        self._stale = False

    def _shaped(self, rows: Tensor) -> Tensor:
        return rows if self.channel_wise else rows.squeeze(0)

    def forward(self, x: Tensor) -> Tensor:
        if self.training and x.numel():
            with torch.no_grad():
                self._observe(x.detach())
        return x

    def _observe(self, x: Tensor) -> None:
        if self.channel_wise and x.dim() < 2:
            raise ValueError(
                f"`x` (of shape {tuple(x.shape)}) has no channel axis; set `channel_wise=False`."
            )
        rows = by_channel(x) if self.channel_wise else x.reshape(1, -1)
        rows = rows if rows.dtype == torch.float64 else rows.float()
        largest = rows.amax(1)
        if not bool(largest.isfinite().all()):
            raise ValueError("`x` must be finite: an activation is NaN or infinite.")
        kind, value = self._statistic
        first = int(self.num_batches_tracked) == 0
        self.num_batches_tracked += 1
        if kind == "mse" or (kind == "percentile" and self.momentum is None):
            if self._record is None:
                bins = 1 << 11 if self.channel_wise else 1 << 14
                histogram = Histogram(rows.shape[0], bins, rows.device)
                self._record = histogram if kind == "mse" else Quantiles()
            self._record.update(rows)
            self._buffers["scale"] = self._shaped(largest)  # dtype, device and shape
            self._stale = True
            return
        s = value * largest if kind == "fraction" else quantile(rows, value)
        s = self._shaped(s)
        if first:
            self.scale = s
        elif self.momentum is None:
            self.scale = torch.maximum(self.scale, s)
        else:
            self.scale = (1 - self.momentum) * self.scale + self.momentum * s

    def extra_repr(self) -> str:
        return f"mode={self.mode!r}, momentum={self.momentum}, channel_wise={self.channel_wise}"


def check_momentum(momentum: Any) -> None:
    """`TypeError` or `ValueError` unless `momentum` is None or a number in [0, 1]."""
    if momentum is None:
        return
    if isinstance(momentum, bool) or not isinstance(momentum, int | float):
        raise TypeError(f"`momentum` (={momentum!r}) must be a number or None.")
    if not 0 <= momentum <= 1:
        raise ValueError(f"`momentum` (={momentum}) must lie in [0, 1], or be None.")


def check_v_init(v_init: Any) -> float:
    """`v_init` as a fraction of the threshold."""
    if isinstance(v_init, bool) or not isinstance(v_init, int | float):
        raise TypeError(f"`v_init` (={v_init!r}) must be a number, a fraction of the threshold.")
    if not 0 <= v_init < 1:
        raise ValueError(f"`v_init` (={v_init}) must lie in [0, 1), a part of the threshold.")
    return float(v_init)


class VoltageScaler(nn.Module, StepModule):
    """Multiply by a scale: ``y = scale * x``, in both step modes.

    Shapes: ``(N, C, *)`` ('s') or ``(T, N, C, *)`` ('m') in and out. `scale` is a number, or one
    value per channel ``(C,)``; it is a buffer.

    Example:
        >>> VoltageScaler(0.5)(torch.tensor([1.0, 4.0]))
        tensor([0.5000, 2.0000])
    """

    scale: Tensor

    def __init__(self, scale: float | Tensor = 1.0, *, step_mode: str = "s") -> None:
        super().__init__()
        self.step_mode = step_mode
        # Not `as_tensor` of a tensor, which moves it to a default device.
        given = scale if isinstance(scale, Tensor) else torch.tensor(scale)
        value = given.detach().clone()
        if value.dim() > 1 or value.numel() == 0:
            raise ValueError(
                f"`scale` (of shape {tuple(value.shape)}) must be a number or a vector with one "
                "value per channel."
            )
        self.register_buffer("scale", value if value.is_floating_point() else value.float())

    def forward(self, x: Tensor) -> Tensor:
        scale = channel_view(self.scale, x.dim() - (self.step_mode == "m"))
        return x * (scale.to(x.dtype) if x.is_floating_point() else scale)

    def extra_repr(self) -> str:
        shown = f"{self.scale.item():g}" if self.scale.dim() == 0 else f"{len(self.scale)} channels"
        return f"scale={shown}, step_mode={self.step_mode!r}"


def channel_view(value: Tensor, dim: int) -> Tensor:
    """`value`, a scalar or `(C,)`, so that it broadcasts over a step of `dim` axes `(N, C, *)`."""
    if value.dim() == 0 or dim < 3:
        return value
    return value.view(-1, *[1] * (dim - 2))

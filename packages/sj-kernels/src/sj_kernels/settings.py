"""Settings of a fused neuron: checked once, kept as a native object."""

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from sj_kernels import _ext
from sj_kernels.info import NEURONS, SURROGATES

_KINDS = {name: kind for kind, name in enumerate(NEURONS)}
_SURROGATES = {name: index for index, name in enumerate(SURROGATES)}


class Settings(NamedTuple):
    """All that describes a neuron but its tensors; hashable."""

    neuron: str
    params: tuple[float, ...]
    v_threshold: float
    v_reset: float | None
    surrogate: str
    surrogate_params: tuple[float, ...]
    detach_reset: bool
    multi_step: bool
    store_v_seq: bool
    output_scale: float


def _choice(argument: str, value: object, known: Sequence[str]) -> None:
    if value not in known:
        names = ", ".join(repr(name) for name in known)
        raise ValueError(f"`{argument}` (={value!r}) must be one of {names}.")


def _numbers(argument: str, values: Sequence[float], names: tuple[str, ...], owner: str) -> None:
    if len(values) != len(names):
        raise ValueError(
            f"`{argument}` (={tuple(values)}) must hold {len(names)} numbers for {owner!r}: "
            f"({', '.join(names)})."
        )
    for name, value in zip(names, values, strict=True):
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise TypeError(
                f"`{argument}` (={tuple(values)}) must hold numbers; {name} is a "
                f"{type(value).__name__}."
            )
        if math.isnan(value):
            raise ValueError(f"`{argument}` (={tuple(values)}) must hold numbers; {name} is NaN.")


def number(argument: str, value: Any) -> float:
    """Return `value` as a float; TypeError that names the argument if it is none."""
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        raise TypeError(f"`{argument}` (={value!r}) must be a number.") from None


def numbers(argument: str, values: Any) -> tuple[float, ...]:
    """Return parameters as a tuple; what it must hold is checked with the settings."""
    try:
        return tuple(values)
    except TypeError:
        raise TypeError(f"`{argument}` (={values!r}) must be a tuple of numbers.") from None


def check_no_gradient(argument: str, value: float | Tensor | None) -> None:
    """Raise where a gradient of `value` would be recorded: the kernels have none."""
    if isinstance(value, Tensor) and value.requires_grad and torch.is_grad_enabled():
        raise ValueError(
            f"`{argument}` requires grad, and the kernels have no gradient for it: pass "
            f"`{argument}.detach()`, or use the torch backend."
        )


@lru_cache(maxsize=4096)
def native(settings: Settings) -> _ext.Neuron:
    """Return the extension's object for `settings`; checks them."""
    _choice("neuron", settings.neuron, list(NEURONS))
    _choice("surrogate", settings.surrogate, list(SURROGATES))
    _numbers("params", settings.params, NEURONS[settings.neuron], settings.neuron)
    _numbers(
        "surrogate_params",
        settings.surrogate_params,
        SURROGATES[settings.surrogate],
        settings.surrogate,
    )
    if settings.surrogate == "SquarewaveFourierSeries":
        n = settings.surrogate_params[0]
        if n < 1 or not float(n).is_integer():
            raise ValueError(
                f"`surrogate_params` (={settings.surrogate_params}) must begin with n, a whole "
                "number of terms from 1 on."
            )
    for argument in ("v_threshold", "v_reset", "output_scale"):
        value = getattr(settings, argument)
        if value is not None and math.isnan(value):
            raise ValueError(f"`{argument}` (={value}) must be a number.")
    p = list(settings.params)
    decay_input = False
    if settings.neuron in ("lif", "plif"):
        decay_input = bool(p.pop())
    if settings.neuron == "plif":
        p.insert(0, 0.0)  # 1/tau comes with each call, as a tensor
    v_reset = settings.v_reset
    return _ext.Neuron(
        _KINDS[settings.neuron],
        [float(value) for value in p],
        decay_input,
        settings.v_threshold,
        v_reset is not None,
        0.0 if v_reset is None else v_reset,
        _SURROGATES[settings.surrogate],
        [float(value) for value in settings.surrogate_params],
        settings.detach_reset,
        settings.output_scale,
    )

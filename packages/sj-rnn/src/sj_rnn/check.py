"""Checks of shapes, dtypes and lengths, and the casts of autocast; every error names its cure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from sj_rnn.gate import hooked

HALF = (torch.float16, torch.bfloat16)


def positive_int(name: str, value: Any) -> None:
    """Raise unless ``value`` is an integer above zero."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"`{name}` (={value!r}) must be an int, got {type(value).__name__}.")
    if value < 1:
        raise ValueError(f"`{name}` (={value}) must be at least 1.")
    if value >= 2**63:
        raise ValueError(f"`{name}` (={value}) must be below 2**63, as sizes of tensors are.")


def flag(name: str, value: Any) -> bool:
    """``value`` as a bool; 0 and 1 are taken, too.

    All else that Python holds for true is more likely an argument in another one's place.
    """
    if not isinstance(value, int) or value not in (0, 1):
        raise TypeError(f"`{name}` (={value!r}) must be True or False.")
    return bool(value)


def check_input(x: Any, shape: str, input_size: int) -> None:
    """Raise unless ``x`` is a floating-point tensor of ``shape``, which ends in ``input_size``."""
    if not isinstance(x, Tensor):
        cure = ""
        if isinstance(x, PackedSequence):
            cure = ": give what `pad_packed_sequence` makes of it as `x` and `lengths`"
        raise TypeError(f"`x` must be a tensor of shape {shape}, got {type(x).__name__}{cure}.")
    if x.dim() != shape.count(",") + 1:
        cure = ""
        if x.dim() == shape.count(","):
            cure = f": a batch of one is `x.unsqueeze({shape.strip('[]').split(', ').index('N')})`"
        raise ValueError(
            f"`x` has shape {list(x.shape)}, expected {shape} with input_size={input_size}{cure}."
        )
    if x.shape[-1] != input_size:
        raise ValueError(
            f"`x` has shape {list(x.shape)}, expected {shape} with input_size={input_size}: "
            f"its last dimension is {x.shape[-1]}."
        )
    if not x.dtype.is_floating_point:
        raise TypeError(
            f"`x` has dtype {x.dtype}, expected a floating-point one: call `x.float()`."
        )
    if x.layout != torch.strided:
        raise TypeError(f"`x` has layout {x.layout}, expected a dense one: call `x.to_dense()`.")


def check_weights(x: Tensor, cell: Any) -> None:
    """Raise unless ``x``, after autocast, has the dtype and device of the weights of ``cell``.

    Where a hook or a linear map of another kind may convert either, the product will tell.
    """
    linear = getattr(cell, "linear_ih", None)
    if not isinstance(linear, nn.Linear) or type(linear).forward is not nn.Linear.forward:
        return
    if hooked(cell) or hooked(linear):
        return
    weight = linear._parameters.get("weight")
    if weight is None:
        return
    if weight.device != x.device:
        raise ValueError(
            f"`x` is on {x.device}, but the weights are on {weight.device}: move one, for example "
            "by `x.to(weight.device)`."
        )
    if weight.dtype == x.dtype or autocast_dtype(x) is not None:
        return
    raise TypeError(
        f"`x` has dtype {x.dtype}, but the weights have {weight.dtype}: convert one, for example "
        "by `x.to(weight.dtype)`."
    )


def probability(name: str, value: Any) -> float:
    """``value`` as a number between 0 and 1."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"`{name}` (={value!r}) must be a number between 0 and 1.")
    if not 0 <= value <= 1:
        raise ValueError(f"`{name}` (={value}) must lie between 0 and 1.")
    return float(value)


def state_tuple(name: str, states: Any, count: int | None) -> tuple[Any, ...]:
    """The states that were given: as one tensor, as several stacked, or as a tuple of them."""
    if isinstance(states, Tensor):
        return states.unbind(0) if states.dim() == 3 else (states,)
    # A tuple of types: dynamo of torch 2.6 knows no unions.
    if not isinstance(states, (list, tuple)):
        some = "tensors" if count is None else count
        raise TypeError(
            f"`{name}` must be a tensor or a tuple of {some}, got {type(states).__name__}."
        )
    return tuple(states)


def check_states(
    states: Sequence[Tensor], name: str, count: int, shape: tuple[int, ...], x: Tensor
) -> None:
    """Raise unless ``states`` are ``count`` tensors of ``shape``, ``x``'s dtype and device."""
    if len(states) != count:
        raise ValueError(
            f"`{name}` has {len(states)} state tensor(s), expected {count}, "
            f"each of shape {list(shape)}."
        )
    for i, state in enumerate(states):
        if not isinstance(state, Tensor):
            raise TypeError(f"`{name}` must hold tensors, got {type(state).__name__}.")
        if tuple(state.shape) != shape:
            own = name if count == 1 else f"{name}[{i}]"
            raise ValueError(f"`{own}` has shape {list(state.shape)}, expected {list(shape)}.")
        if state.dtype != x.dtype:
            own = name if count == 1 else f"{name}[{i}]"
            raise TypeError(
                f"`{own}` has dtype {state.dtype}, but `x` has {x.dtype}: "
                f"convert one, for example by `{own}.to(x.dtype)`."
            )
        if state.device != x.device:
            own = name if count == 1 else f"{name}[{i}]"
            raise ValueError(
                f"`{own}` is on {state.device}, but `x` is on {x.device}: move one, for example by "
                f"`{own}.to(x.device)`."
            )


def autocast_dtype(x: Tensor) -> torch.dtype | None:
    """The dtype that autocast asks of ``x`` now, or None; as in torch, float64 stays as it is."""
    kind = x.device.type
    if kind == "meta":  # which autocast does not know
        return None
    if x.dtype == torch.float64 or not torch.is_autocast_enabled(kind):
        return None
    return torch.get_autocast_dtype(kind)


def cast(tensor: Tensor | None, dtype: torch.dtype | None) -> Tensor | None:
    """``tensor`` in ``dtype``; None of either changes nothing, and float64 tensors stay."""
    if tensor is None or dtype is None or tensor.dtype == torch.float64:
        return tensor
    return tensor.to(dtype)


def wide(x: Tensor) -> Tensor:
    """``x`` in the dtype that gate arithmetic is done in: float32 for half precision."""
    return x.float() if x.dtype in HALF else x


def lengths_mask(lengths: Any, x: Tensor) -> Tensor | None:
    """Bool mask ``[T, N, 1]`` of ``x`` ``[T, N, *]``: True where t < lengths[n]; None for None."""
    if lengths is None:
        return None
    steps, batch = x.shape[:2]
    values = lengths
    if not isinstance(lengths, Tensor):
        try:  # on the CPU whatever the default: they are looked at
            values = torch.as_tensor(lengths, device="cpu")
        except (TypeError, ValueError, RuntimeError) as error:
            raise TypeError(
                f"`lengths` (={lengths!r}) must be a list or tensor of {batch} integers, one per "
                "sequence."
            ) from error
    if not values.numel():
        values = values.long()  # an empty list has no integers in it
    if values.dtype.is_floating_point or values.dtype.is_complex or values.dtype == torch.bool:
        raise TypeError(f"`lengths` has dtype {values.dtype}, expected integers.")
    if tuple(values.shape) != (batch,):
        raise ValueError(
            f"`lengths` has shape {list(values.shape)}, expected [{batch}], one per sequence."
        )
    if values.is_meta and not x.is_meta:
        raise ValueError(f"`lengths` is on meta, where it has no values: move it to {x.device}.")
    # The values of a CUDA tensor are not looked at: that would wait for the device.
    if values.device.type == "cpu" and not torch.compiler.is_compiling() and batch:
        low, high = (int(v) for v in values.aminmax())
        if low < 0 or high > steps:
            raise ValueError(
                f"`lengths` (={values.tolist()}) must lie between 0 and the {steps} steps of `x`."
            )
    time = torch.arange(steps, device=x.device).unsqueeze(1)
    return (time < values.to(x.device, non_blocking=True)).unsqueeze(-1)

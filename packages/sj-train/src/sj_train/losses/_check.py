"""Checks that the losses share."""

import torch
from torch import Tensor


def as_floating(x: Tensor) -> Tensor:
    """Give bool and integer spikes the default floating dtype, leave the others alone."""
    return x if x.is_floating_point() else x.to(torch.get_default_dtype())


def check_sequence(name: str, x_seq: Tensor, layout: str, min_dim: int) -> None:
    """Raise `ValueError` unless `x_seq` has at least `min_dim` axes and one time step."""
    if x_seq.dim() < min_dim:
        raise ValueError(f"`{name}` (shape {tuple(x_seq.shape)}) must have the shape {layout}.")
    if x_seq.shape[0] == 0:
        raise ValueError(f"`{name}` (shape {tuple(x_seq.shape)}) must hold at least one time step.")


def check_class_target(x: Tensor, target: Tensor) -> None:
    """Raise `ValueError` unless `target` holds classes `[N, *]` or probabilities `[N, C, *]`."""
    classes = (x.shape[0], *x.shape[2:])
    if tuple(target.shape) not in (classes, tuple(x.shape)):
        raise ValueError(
            f"`target` (shape {tuple(target.shape)}) must hold class indices of shape {classes} "
            f"or class probabilities of shape {tuple(x.shape)}."
        )

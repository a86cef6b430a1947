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


def widen(x: Tensor) -> Tensor:
    """Give half precision float32, where sums over many spikes are not rounded away."""
    x = as_floating(x)
    return x.to(torch.promote_types(x.dtype, torch.float32))


def narrow(loss: Tensor, *inputs: Tensor) -> Tensor:
    """Round a loss to the dtype of what it is of, but leave it wide under autocast."""
    # There torch's own losses are float32, and a scaled gradient would overflow in float16.
    if torch.is_autocast_enabled(loss.device.type):
        return loss
    dtypes = [as_floating(x[:0]).dtype for x in inputs]
    return loss.to(torch.promote_types(dtypes[0], dtypes[-1]))


def class_target(x: Tensor, target: Tensor) -> Tensor:
    """Return class indices `[N, *]` as int64, or probabilities `[N, C, *]`; else `ValueError`."""
    classes = (x.shape[0], *x.shape[2:])
    wanted = tuple(x.shape) if target.is_floating_point() else classes
    if tuple(target.shape) != wanted:
        raise ValueError(
            f"`target` (shape {tuple(target.shape)}) must hold class indices of "
            f"shape {classes}, as integers, or class probabilities of shape {tuple(x.shape)}."
        )
    return target if target.is_floating_point() else target.long()

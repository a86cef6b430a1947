"""Loss on membrane potentials."""

import torch
import torch.nn.functional as F
from torch import Tensor

from sj_train.losses._check import check_sequence, narrow, widen


def membrane_mse(
    v_seq: Tensor, target: Tensor, on_target: float = 1.0, off_target: float = 0.0
) -> Tensor:
    r"""
    Mean square error between membrane potentials and where they should be at each time step.

    .. math:: L = \frac{1}{T} \sum_t \mathrm{mean}\, (v[t] - v^*[t])^2

    Args:
        v_seq: `[T, N, *]`; with class indices as target `[T, N, C, *]`.
        target: floating: the potentials themselves, `[T, N, *]`, or `[N, *]` for all time steps.
            Integer: class indices `[N, *]`; the neuron of the class should be at `on_target`,
            the others at `off_target`.
        on_target: potential of the neuron of the right class.
        off_target: potential of the others.

    Returns:
        A scalar.

    Raises:
        ValueError: shapes that do not fit, a class out of range, or no time step.

    Example:
        >>> import torch
        >>> v_seq = torch.tensor([[[1.0, 0.5]], [[0.0, 0.5]]])
        >>> membrane_mse(v_seq, torch.tensor([0]))
        tensor(0.3750)
    """
    if target.is_floating_point():
        check_sequence("v_seq", v_seq, "[T, N, *]", 2)
        if target.shape not in (v_seq.shape, v_seq.shape[1:]):
            raise ValueError(
                f"`target` (shape {tuple(target.shape)}) must have the shape "
                f"{tuple(v_seq.shape)} or {tuple(v_seq.shape[1:])}."
            )
        loss = F.mse_loss(widen(v_seq), widen(target).expand_as(v_seq))
        return narrow(loss, v_seq, target)
    check_sequence("v_seq", v_seq, "[T, N, C, *]", 3)
    classes = (v_seq.shape[1], *v_seq.shape[3:])
    if tuple(target.shape) != classes:
        raise ValueError(
            f"`target` (shape {tuple(target.shape)}) must hold class indices of shape {classes}."
        )
    n = v_seq.shape[2]
    # What is in a tensor is not known while compiling.
    known = target.numel() > 0 and not torch.compiler.is_compiling()
    if known and not 0 <= int(target.min()) <= int(target.max()) < n:
        raise ValueError(
            f"`target` (from {int(target.min())} to {int(target.max())}) must hold class indices "
            f"from 0 to {n - 1}."
        )
    v = widen(v_seq)
    wanted = v.new_full(v.shape[1:], off_target)
    wanted.scatter_(1, target.long().unsqueeze(1), on_target)
    return narrow(F.mse_loss(v, wanted.expand_as(v)), v_seq)

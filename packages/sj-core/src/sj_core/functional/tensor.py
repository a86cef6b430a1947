"""Functions on spike tensors and labels."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from sj_core._checks import as_count, as_float, check_tensor
from sj_core.neuron.base import BaseNode


def redundant_one_hot(labels: Tensor, num_classes: int, n: int) -> Tensor:
    """One-hot labels with ``n`` columns per class: targets of a population-coded output layer.

    ``y[i, j] = 1`` if ``labels[i] * n <= j < (labels[i] + 1) * n``, else 0: class c owns the
    columns ``c*n .. c*n + n - 1``.

    Shapes: integer ``labels`` ``[N]`` to ``[N, num_classes * n]`` of the default dtype.

    Raises ``TypeError`` if ``labels`` is not of an integer dtype, ``ValueError`` if ``labels`` is
    not one axis of numbers in ``[0, num_classes)`` or ``num_classes`` or ``n`` is less than 1.

    >>> import torch
    >>> from sj_core import functional
    >>> functional.redundant_one_hot(torch.tensor([1, 0]), num_classes=2, n=3)
    tensor([[0., 0., 0., 1., 1., 1.],
            [1., 1., 1., 0., 0., 0.]])
    """
    if not isinstance(labels, Tensor):
        raise TypeError(f"`labels` (a {type(labels).__name__}) must be a tensor of integers.")
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise TypeError(f"`labels` (of {labels.dtype}) must be integers, for example torch.int64.")
    if labels.dim() != 1:
        raise ValueError(f"`labels` has shape {list(labels.shape)} and must have [N].")
    num_classes, n = as_count("num_classes", num_classes), as_count("n", n)
    if labels.numel() and not 0 <= int(labels.min()) <= int(labels.max()) < num_classes:
        raise ValueError(
            f"`labels` (from {int(labels.min())} to {int(labels.max())}) must be in "
            f"[0, {num_classes - 1}] for `num_classes` (={num_classes})."
        )
    one_hot = F.one_hot(labels.long(), num_classes).to(torch.get_default_dtype())
    return one_hot.repeat_interleave(n, dim=-1)


def first_spike_index(spikes: Tensor) -> Tensor:
    """Mark the first spike of each train.

    ``y[..., t] = True`` if ``spikes[..., t] != 0`` and ``spikes[..., s] == 0`` for all s < t.

    Shapes: ``[*, T]`` of any dtype to bool ``[*, T]``. A silent train has no True.

    Raises ``TypeError`` if ``spikes`` is no tensor, ``ValueError`` if it has no axis.

    >>> import torch
    >>> from sj_core import functional
    >>> functional.first_spike_index(torch.tensor([[0.0, 1.0, 1.0], [0.0, 0.0, 0.0]]))
    tensor([[False,  True, False],
            [False, False, False]])
    """
    check_tensor("spikes", spikes)
    if spikes.dim() == 0:
        raise ValueError("`spikes` has shape [] and must have [*, T].")
    fired = spikes != 0
    return fired & (fired.cumsum(-1) == 1)


def delay(x_seq: Tensor, delay_steps: int) -> Tensor:
    """Shift a sequence to later time steps, with zeros before.

    ``y[t] = x[t - delay_steps]`` for ``t >= delay_steps``, else 0. What is pushed beyond the end
    is lost; :class:`layer.Delay` keeps it for the next call.

    Shapes: ``[T, *]`` to ``[T, *]``. A delay of ``T`` or more gives zeros.

    Raises ``TypeError`` if ``x_seq`` is no tensor or ``delay_steps`` no integer, ``ValueError`` if
    ``x_seq`` has no axis or ``delay_steps`` is negative.

    >>> import torch
    >>> from sj_core import functional
    >>> functional.delay(torch.tensor([[1.0], [2.0], [3.0]]), 1).flatten().tolist()
    [0.0, 1.0, 2.0]
    """
    check_tensor("x_seq", x_seq)
    if x_seq.dim() == 0:
        raise ValueError("`x_seq` has shape [] and must have [T, *].")
    shift = min(as_count("delay_steps", delay_steps, 0), x_seq.shape[0])
    before = x_seq.new_zeros((shift, *x_seq.shape[1:]))
    return torch.cat((before, x_seq[: x_seq.shape[0] - shift]))


def set_threshold_margin(
    output_layer: BaseNode,
    label_one_hot: Tensor,
    eval_threshold: float = 1.0,
    threshold0: float = 0.9,
    threshold1: float = 1.1,
) -> None:
    """Set the threshold of an output layer by the labels: a margin between the classes.

    In training ``v_threshold = threshold1`` where ``label_one_hot`` is 1, so that the right neuron
    must be driven harder, and ``threshold0`` elsewhere, a tensor ``[N, C]``; in eval mode
    ``v_threshold = eval_threshold``.

    Raises ``TypeError`` if ``output_layer`` is no neuron, ``label_one_hot`` no tensor or a
    threshold no number.

    >>> import torch
    >>> from sj_core import functional, neuron
    >>> node = neuron.IFNode()
    >>> functional.set_threshold_margin(node, torch.tensor([[0, 1]]))
    >>> node.v_threshold
    tensor([[0.9000, 1.1000]])
    >>> functional.set_threshold_margin(node.eval(), torch.tensor([[0, 1]]))
    >>> node.v_threshold
    1.0
    """
    _check_neuron(output_layer)
    if not output_layer.training:
        output_layer.v_threshold = as_float("eval_threshold", eval_threshold)
        return
    check_tensor("label_one_hot", label_one_hot)
    low = as_float("threshold0", threshold0)
    high = as_float("threshold1", threshold1)
    dtype = label_one_hot.dtype
    if not label_one_hot.is_floating_point():
        dtype = torch.get_default_dtype()
    margins = torch.tensor([low, high], dtype=dtype, device=label_one_hot.device)
    output_layer.v_threshold = torch.where(label_one_hot == 1, margins[1], margins[0])


def _check_neuron(module: Any) -> None:
    if not isinstance(module, BaseNode):
        kind = type(module).__name__
        raise TypeError(f"`output_layer` (a {kind}) must be a neuron, a `neuron.BaseNode`.")
    if "v_threshold" in module._parameters:
        kind = type(module).__name__
        raise TypeError(
            f"`output_layer` (a {kind}) must have a threshold to set: it learns its own."
        )

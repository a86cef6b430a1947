"""The matrix products of a sequence, by the faster CPU library where there is a choice."""

from __future__ import annotations

import functools

import torch
from torch import Tensor

# Multiplications below which calling oneDNN costs more than it gains.
_ONEDNN_WORK = 2_500_000


@functools.cache
def _has_onednn() -> bool:
    return torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def takes_onednn(a: Tensor, b: Tensor) -> bool:
    """Whether oneDNN multiplies ``a`` ``[m, k]`` and ``b`` ``[k, n]``: float32, CPU, large."""
    # By MKL the same product takes up to twice as long on processors that are not Intel's.
    return (
        a.dtype == torch.float32
        and a.device.type == "cpu"
        and a.numel() * b.shape[-1] >= _ONEDNN_WORK
        and _has_onednn()
        and bool(torch.backends.mkldnn.enabled)
    )


def _onednn(a: Tensor, b: Tensor, bias: Tensor | None) -> Tensor:
    result: Tensor = torch.ops.mkldnn._linear_pointwise(a, b.t(), bias, "none", [], "")
    return result


def product(a: Tensor, b: Tensor) -> Tensor:
    """``a @ b`` of two matrices, or of two batches of them; any strides."""
    if a.dim() == 3:
        return torch.bmm(a, b)
    if takes_onednn(a, b):
        return _onednn(a, b, None)
    return torch.mm(a, b)


def product_plus(bias: Tensor | None, a: Tensor, b: Tensor) -> Tensor:
    """``a @ b + bias``, the bias of shape ``[n]``, or ``[batch, n]`` for batches of matrices."""
    if bias is None:
        return product(a, b)
    if a.dim() == 3:
        return torch.baddbmm(bias.unsqueeze(1), a, b)
    if takes_onednn(a, b):
        return _onednn(a, b, bias)
    return torch.addmm(bias, a, b)


def gram(a: Tensor, b: Tensor) -> Tensor:
    """``a^T @ b``: the gradient of a weight from ``a`` ``[rows, m]`` and ``b`` ``[rows, n]``."""
    if a.dim() == 3:
        return torch.bmm(a.transpose(1, 2), b)
    if takes_onednn(a.t(), b):
        # The transposed product of two transposed matrices is the form it is fastest in.
        return product(b.t(), a).t().contiguous()
    return torch.mm(a.t(), b)

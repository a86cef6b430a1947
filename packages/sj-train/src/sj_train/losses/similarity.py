"""Similarity of spike trains through a kernel, and the loss built on it."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from sj_train.losses._check import as_floating, narrow, widen

_ARGUMENT = {"polynomial": "d", "sigmoid": "alpha", "gaussian": "sigma"}
_KERNELS = ("linear", *_ARGUMENT)
_LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "mse": F.mse_loss,
    "l1": F.l1_loss,
    "bce": F.binary_cross_entropy,
}


def kernel_dot_product(x: Tensor, y: Tensor, kernel: str = "linear", *args: float) -> Tensor:
    r"""
    Inner product of every row of `x` with every row of `y` in the space of a kernel.

    ==============  ==============================================  ============
    `kernel`        :math:`\kappa(x_i, y_j)`                        `args`
    ==============  ==============================================  ============
    `'linear'`      :math:`x_i \cdot y_j`                           none
    `'polynomial'`  :math:`(x_i \cdot y_j)^d`                       `d`
    `'sigmoid'`     :math:`\sigma(\alpha\, x_i \cdot y_j)`          `alpha`
    `'gaussian'`    :math:`\exp(-\|x_i - y_j\|^2 / (2 \sigma^2))`   `sigma` > 0
    ==============  ==============================================  ============

    The gaussian kernel takes the distance from the differences themselves, so that rounding never
    lifts it above 1 and equal rows give exactly 1. A polynomial of `d` < 1 has an infinite slope
    where the product is 0, as for a silent train; no gradient is passed there.

    Args:
        x: `[N, M]`; bool and integer spikes are taken as numbers.
        y: `[K, M]`.
        kernel: one of the names above.
        *args: the parameter of the kernel; more of them are ignored.

    Returns:
        `[N, K]`, in the dtype of `x` and `y` (the wider one).

    Raises:
        ValueError: an unknown kernel, a missing argument, `sigma` <= 0, shapes that do not fit.

    Example:
        >>> import torch
        >>> x = torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
        >>> kernel_dot_product(x, x, "polynomial", 2)
        tensor([[4., 0.],
                [0., 1.]])
    """
    if kernel not in _KERNELS:
        raise ValueError(f"`kernel` (={kernel!r}) must be one of {', '.join(map(repr, _KERNELS))}.")
    if x.dim() != 2 or y.dim() != 2 or x.shape[1] != y.shape[1]:
        raise ValueError(
            f"`x` and `y` (shapes {tuple(x.shape)} and {tuple(y.shape)}) must have the shapes "
            "[N, M] and [K, M]."
        )
    if kernel in _ARGUMENT and not args:
        raise ValueError(
            f"`kernel` (={kernel!r}) must be followed by its argument `{_ARGUMENT[kernel]}`."
        )
    x, y = as_floating(x), as_floating(y)
    dtype = torch.promote_types(x.dtype, y.dtype)
    x, y = x.to(dtype), y.to(dtype)
    if kernel == "gaussian":
        sigma = args[0]
        if not sigma > 0:
            raise ValueError(f"`sigma` (={sigma}) must be greater than 0.")
        return torch.exp(_squared_distance(x, y) / (-2.0 * sigma * sigma)).to(dtype)
    if kernel == "linear":
        return x @ y.t()
    dot = widen(x) @ widen(y).t()
    power = kernel == "polynomial"
    return (_power(dot, args[0]) if power else torch.sigmoid(args[0] * dot)).to(dtype)


def _power(dot: Tensor, d: float) -> Tensor:
    if d >= 1:
        return dot.pow(d)
    # The slope at 0 is infinite, and NaN after the product with a silent train.
    zero = dot == 0
    return torch.where(zero, dot.detach().pow(d), torch.where(zero, 1.0, dot).pow(d))


def _squared_distance(x: Tensor, y: Tensor) -> Tensor:
    # |x|^2 + |y|^2 - 2 x.y would cancel: it goes negative, and equal rows are not at distance 0.
    # In half precision it would overflow.
    distance = torch.cdist(widen(x), widen(y), compute_mode="donot_use_mm_for_euclid_dist")
    return distance.square()


def _cosine(x: Tensor) -> Tensor:
    # The cosine does not change with the scale of a row, so each is brought to 1 at most without a
    # gradient: the product of two squared norms then neither over- nor underflows, and it is exact
    # for binary trains, where two equal trains must give exactly 1.
    peak = x.detach().abs().amax(dim=1, keepdim=True)
    x = x / torch.where(peak > 0, peak, torch.ones_like(peak))
    squared = x.square().sum(dim=1)
    norms = squared.unsqueeze(1) * squared.unsqueeze(0)
    norms = torch.where(norms > 0, norms, torch.ones_like(norms)).sqrt()
    return ((x @ x.t()) / norms).clamp(0.0, 1.0)


def spike_similar_loss(
    spikes: Tensor,
    labels: Tensor,
    kernel_type: str = "linear",
    loss_type: str = "mse",
    *args: float,
) -> Tensor:
    r"""
    Loss between how similar spike trains are and whether their samples share a label.

    .. math:: L = \frac{1}{N^2} \sum_{i, j} \ell(P_{ij}, Y_{ij}), \qquad
        Y_{ij} = 1 \text{ if samples } i, j \text{ share a label, else } 0

    :math:`P` is the kernel of the flattened trains, see `kernel_dot_product`; the linear one is
    divided by the norms of both trains and stays in [0, 1], a silent train being similar to none
    (0). Before `'bce'` every :math:`P` is clipped to [0, 1].

    Args:
        spikes: `[N, M, T]`, the trains of M neurons for N samples.
        labels: `[N, C]`, non-zero where a sample has a label; several are allowed.
        kernel_type: `'linear'`, `'polynomial'`, `'sigmoid'` or `'gaussian'`.
        loss_type: `'mse'`, `'l1'` or `'bce'`.
        *args: the parameter of the kernel.

    Returns:
        A scalar.

    Raises:
        ValueError: an unknown name, a missing argument, shapes that do not fit or are empty.

    Example:
        >>> import torch
        >>> spikes = torch.tensor([[[1.0, 0.0]], [[1.0, 1.0]]])
        >>> labels = torch.tensor([[1, 0], [0, 1]])
        >>> spike_similar_loss(spikes, labels, "linear", "mse")
        tensor(0.2500)
    """
    if loss_type not in _LOSSES:
        raise ValueError(
            f"`loss_type` (={loss_type!r}) must be one of {', '.join(map(repr, _LOSSES))}."
        )
    if kernel_type not in _KERNELS:
        raise ValueError(
            f"`kernel_type` (={kernel_type!r}) must be one of {', '.join(map(repr, _KERNELS))}."
        )
    if spikes.dim() < 2 or spikes.numel() == 0:
        raise ValueError(
            f"`spikes` (shape {tuple(spikes.shape)}) must have the shape [N, M, T], no axis of "
            "length 0."
        )
    if labels.dim() != 2 or labels.shape[0] != spikes.shape[0]:
        raise ValueError(
            f"`labels` (shape {tuple(labels.shape)}) must have the shape [N, C] with N = "
            f"{spikes.shape[0]}; use torch.nn.functional.one_hot for class indices."
        )
    # Under autocast the counts would be rounded to half precision and 'bce' refused.
    with torch.autocast(spikes.device.type, enabled=False):
        x = widen(spikes).flatten(1)
        if kernel_type == "linear":
            predicted = _cosine(x)
        else:
            predicted = kernel_dot_product(x, x, kernel_type, *args)
        if loss_type == "bce":
            predicted = predicted.clamp(0.0, 1.0)
        shared = (labels != 0).to(x.dtype)
        true = (shared @ shared.t() > 0).to(x.dtype)
        loss = _LOSSES[loss_type](predicted, true)
    return narrow(loss, spikes)

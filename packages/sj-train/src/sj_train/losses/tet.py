"""Temporal efficient training: a loss at every time step instead of one on the mean output."""

import torch.nn.functional as F
from torch import Tensor, nn

from sj_train.losses._check import check_sequence, class_target, narrow, widen


def temporal_efficient_training_cross_entropy(x_seq: Tensor, target: Tensor) -> Tensor:
    r"""
    Mean over time of the cross entropy at each time step.

    .. math:: L_{TET} = \frac{1}{T} \sum_{t} L_{CE}(x[t], y)

    Time is folded into the batch, so that it is one call whatever T is.

    Args:
        x_seq: `[T, N, C, *]`, the outputs (logits) at each time step.
        target: `[N, *]`, class indices (-100 is left out), or `[N, C, *]`, class probabilities.

    Returns:
        A scalar.

    Raises:
        ValueError: shapes that do not fit, or no time step.

    Source: Deng et al., Temporal Efficient Training of Spiking Neural Network via Gradient
    Re-weighting (2022).

    Example:
        >>> import torch
        >>> x_seq = torch.zeros(4, 2, 10)
        >>> temporal_efficient_training_cross_entropy(x_seq, torch.tensor([3, 7]))
        tensor(2.3026)
    """
    return narrow(_mean_cross_entropy(x_seq, target), x_seq)


def _mean_cross_entropy(x_seq: Tensor, target: Tensor) -> Tensor:
    check_sequence("x_seq", x_seq, "[T, N, C, *]", 3)
    target = class_target(x_seq[0], target)
    if target.is_floating_point():
        target = widen(target)
    repeated = target.unsqueeze(0).expand(x_seq.shape[0], *target.shape)
    # In half precision the sum over steps and samples is infinite before it becomes a mean.
    return F.cross_entropy(widen(x_seq).flatten(0, 1), repeated.flatten(0, 1))


class TETLoss(nn.Module):
    r"""
    The whole TET loss: cross entropy at every step, and a pull of the outputs towards a value.

    .. math:: L = (1 - \lambda) L_{TET} + \lambda\, \mathrm{mean}\, (x - \phi)^2

    The second term keeps single steps from going astray; the paper sets :math:`\phi` to the
    threshold of the neurons.

    Args:
        lambda_: weight of the second term, in [0, 1].
        phi: the value that all outputs are drawn to.

    Shapes: `x_seq` `[T, N, C, *]`, `target` `[N, *]`; the result is a scalar.

    Raises:
        ValueError: `lambda_` outside [0, 1]; shapes that do not fit.

    Source: Deng et al. (2022).

    Example:
        >>> import torch
        >>> loss = TETLoss(lambda_=0.5, phi=1.0)
        >>> loss(torch.zeros(4, 2, 10), torch.tensor([3, 7]))
        tensor(1.6513)
    """

    def __init__(self, lambda_: float = 0.05, phi: float = 1.0) -> None:
        super().__init__()
        if not 0.0 <= lambda_ <= 1.0:
            raise ValueError(f"`lambda_` (={lambda_}) must be in [0, 1].")
        self.lambda_ = float(lambda_)
        self.phi = float(phi)

    def forward(self, x_seq: Tensor, target: Tensor) -> Tensor:
        """Return the loss of `x_seq` `[T, N, C, *]` against `target` `[N, *]`."""
        cross_entropy = _mean_cross_entropy(x_seq, target)
        spread = (widen(x_seq) - self.phi).square().mean()
        return narrow((1.0 - self.lambda_) * cross_entropy + self.lambda_ * spread, x_seq)

    def extra_repr(self) -> str:
        """Give every setting."""
        return f"lambda_={self.lambda_}, phi={self.phi}"

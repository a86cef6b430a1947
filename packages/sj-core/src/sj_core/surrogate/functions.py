"""The surrogates as functions: `atan(x, alpha)` is `ATan(alpha)(x)` without a module.

Each gives `Theta(x)` of any shape, in x's dtype, with the derivative of the class of its name in
backward. The parameters are those of the class, with the same defaults and the same checks.
"""

from torch import Tensor

from sj_core.surrogate import exponential, heavy_tailed, logarithmic, periodic, piecewise
from sj_core.surrogate.base import spike


def piecewise_quadratic(x: Tensor, alpha: float = 1.0) -> Tensor:
    """Theta(x), with the derivative of `PiecewiseQuadratic` in backward.

    Example:
        >>> import torch
        >>> from sj_core import surrogate
        >>> x = torch.tensor([-0.25, 0.5], requires_grad=True)
        >>> y = surrogate.piecewise_quadratic(x)
        >>> y.sum().backward()
        >>> y.detach(), x.grad
        (tensor([0., 1.]), tensor([0.7500, 0.5000]))
    """
    return spike(x, piecewise.PiecewiseQuadratic, alpha)


def piecewise_exp(x: Tensor, alpha: float = 1.0) -> Tensor:
    """Theta(x), with the derivative of `PiecewiseExp` in backward.

    Example:
        >>> import torch
        >>> from sj_core import surrogate
        >>> x = torch.tensor([-0.25, 0.5], requires_grad=True)
        >>> y = surrogate.piecewise_exp(x)
        >>> y.sum().backward()
        >>> y.detach(), x.grad
        (tensor([0., 1.]), tensor([0.3894, 0.3033]))
    """
    return spike(x, exponential.PiecewiseExp, alpha)


def sigmoid(x: Tensor, alpha: float = 4.0) -> Tensor:
    """Theta(x), with the derivative of `Sigmoid` in backward.

    Example:
        >>> import torch
        >>> from sj_core import surrogate
        >>> x = torch.tensor([-0.25, 0.5], requires_grad=True)
        >>> y = surrogate.sigmoid(x)
        >>> y.sum().backward()
        >>> y.detach(), x.grad
        (tensor([0., 1.]), tensor([0.7864, 0.4200]))
    """
    return spike(x, exponential.Sigmoid, alpha)


def soft_sign(x: Tensor, alpha: float = 2.0) -> Tensor:
    """Theta(x), with the derivative of `SoftSign` in backward.

    Example:
        >>> import torch
        >>> from sj_core import surrogate
        >>> x = torch.tensor([-0.25, 0.5], requires_grad=True)
        >>> y = surrogate.soft_sign(x)
        >>> y.sum().backward()
        >>> y.detach(), x.grad
        (tensor([0., 1.]), tensor([0.4444, 0.2500]))
    """
    return spike(x, heavy_tailed.SoftSign, alpha)


def super_spike(x: Tensor, alpha: float = 1.0) -> Tensor:
    """Theta(x), with the derivative of `SuperSpike` in backward.

    Example:
        >>> import torch
        >>> from sj_core import surrogate
        >>> x = torch.tensor([-0.25, 0.5], requires_grad=True)
        >>> y = surrogate.super_spike(x)
        >>> y.sum().backward()
        >>> y.detach(), x.grad
        (tensor([0., 1.]), tensor([0.6400, 0.4444]))
    """
    return spike(x, heavy_tailed.SuperSpike, alpha)


def atan(x: Tensor, alpha: float = 2.0) -> Tensor:
    """Theta(x), with the derivative of `ATan` in backward.

    Example:
        >>> import torch
        >>> from sj_core import surrogate
        >>> x = torch.tensor([-0.25, 0.5], requires_grad=True)
        >>> y = surrogate.atan(x)
        >>> y.sum().backward()
        >>> y.detach(), x.grad
        (tensor([0., 1.]), tensor([0.6185, 0.2884]))
    """
    return spike(x, heavy_tailed.ATan, alpha)


def nonzero_sign_log_abs(x: Tensor, alpha: float = 1.0) -> Tensor:
    """Theta(x), with the derivative of `NonzeroSignLogAbs` in backward.

    Example:
        >>> import torch
        >>> from sj_core import surrogate
        >>> x = torch.tensor([-0.25, 0.5], requires_grad=True)
        >>> y = surrogate.nonzero_sign_log_abs(x)
        >>> y.sum().backward()
        >>> y.detach(), x.grad
        (tensor([0., 1.]), tensor([0.8000, 0.6667]))
    """
    return spike(x, logarithmic.NonzeroSignLogAbs, alpha)


def erf(x: Tensor, alpha: float = 2.0) -> Tensor:
    """Theta(x), with the derivative of `Erf` in backward.

    Example:
        >>> import torch
        >>> from sj_core import surrogate
        >>> x = torch.tensor([-0.25, 0.5], requires_grad=True)
        >>> y = surrogate.erf(x)
        >>> y.sum().backward()
        >>> y.detach(), x.grad
        (tensor([0., 1.]), tensor([0.8788, 0.4151]))
    """
    return spike(x, exponential.Erf, alpha)


def piecewise_leaky_relu(x: Tensor, w: float = 1.0, c: float = 0.01) -> Tensor:
    """Theta(x), with the derivative of `PiecewiseLeakyReLU` in backward.

    Example:
        >>> import torch
        >>> from sj_core import surrogate
        >>> x = torch.tensor([-0.25, 0.5], requires_grad=True)
        >>> y = surrogate.piecewise_leaky_relu(x)
        >>> y.sum().backward()
        >>> y.detach(), x.grad
        (tensor([0., 1.]), tensor([0.5000, 0.5000]))
    """
    return spike(x, piecewise.PiecewiseLeakyReLU, w, c)


def squarewave_fourier_series(x: Tensor, n: int = 2, T_period: float = 8.0) -> Tensor:
    """Theta(x), with the derivative of `SquarewaveFourierSeries` in backward.

    Example:
        >>> import torch
        >>> from sj_core import surrogate
        >>> x = torch.tensor([-0.25, 0.5], requires_grad=True)
        >>> y = surrogate.squarewave_fourier_series(x)
        >>> y.sum().backward()
        >>> y.detach(), x.grad
        (tensor([0., 1.]), tensor([0.9061, 0.6533]))
    """
    return spike(x, periodic.SquarewaveFourierSeries, n, T_period)


def s2nn(x: Tensor, alpha: float = 4.0, beta: float = 1.0) -> Tensor:
    """Theta(x), with the derivative of `S2NN` in backward.

    Example:
        >>> import torch
        >>> from sj_core import surrogate
        >>> x = torch.tensor([-0.25, 0.5], requires_grad=True)
        >>> y = surrogate.s2nn(x)
        >>> y.sum().backward()
        >>> y.detach(), x.grad
        (tensor([0., 1.]), tensor([0.7864, 0.6667]))
    """
    return spike(x, logarithmic.S2NN, alpha, beta)


def q_pseudo_spike(x: Tensor, alpha: float = 2.0) -> Tensor:
    """Theta(x), with the derivative of `QPseudoSpike` in backward.

    Example:
        >>> import torch
        >>> from sj_core import surrogate
        >>> x = torch.tensor([-0.25, 0.5], requires_grad=True)
        >>> y = surrogate.q_pseudo_spike(x)
        >>> y.sum().backward()
        >>> y.detach(), x.grad
        (tensor([0., 1.]), tensor([0.4444, 0.2500]))
    """
    return spike(x, heavy_tailed.QPseudoSpike, alpha)


def leaky_k_relu(x: Tensor, leak: float = 0.0, k: float = 1.0) -> Tensor:
    """Theta(x), with the derivative of `LeakyKReLU` in backward.

    Example:
        >>> import torch
        >>> from sj_core import surrogate
        >>> x = torch.tensor([-0.25, 0.5], requires_grad=True)
        >>> y = surrogate.leaky_k_relu(x)
        >>> y.sum().backward()
        >>> y.detach(), x.grad
        (tensor([0., 1.]), tensor([0., 1.]))
    """
    return spike(x, piecewise.LeakyKReLU, leak, k)


def fake_numerical_gradient(x: Tensor, alpha: float = 0.3) -> Tensor:
    """Theta(x), with the derivative of `FakeNumericalGradient` in backward.

    Example:
        >>> import torch
        >>> from sj_core import surrogate
        >>> x = torch.tensor([-0.25, 0.5], requires_grad=True)
        >>> y = surrogate.fake_numerical_gradient(x)
        >>> y.sum().backward()
        >>> y.detach(), x.grad
        (tensor([0., 1.]), tensor([0.3000, 0.3000]))
    """
    return spike(x, heavy_tailed.FakeNumericalGradient, alpha)


def log_tailed_relu(x: Tensor, alpha: float = 0.0) -> Tensor:
    """Theta(x), with the derivative of `LogTailedReLU` in backward.

    Example:
        >>> import torch
        >>> from sj_core import surrogate
        >>> x = torch.tensor([-0.25, 0.5], requires_grad=True)
        >>> y = surrogate.log_tailed_relu(x)
        >>> y.sum().backward()
        >>> y.detach(), x.grad
        (tensor([0., 1.]), tensor([0., 1.]))
    """
    return spike(x, logarithmic.LogTailedReLU, alpha)


def rect(x: Tensor, alpha: float = 1.0) -> Tensor:
    """Theta(x), with the derivative of `Rect` in backward.

    Example:
        >>> import torch
        >>> from sj_core import surrogate
        >>> x = torch.tensor([-0.25, 0.5], requires_grad=True)
        >>> y = surrogate.rect(x)
        >>> y.sum().backward()
        >>> y.detach(), x.grad
        (tensor([0., 1.]), tensor([1., 0.]))
    """
    return spike(x, piecewise.Rect, alpha)

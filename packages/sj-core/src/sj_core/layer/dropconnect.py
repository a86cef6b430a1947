"""A linear layer that drops weights."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sj_core import base
from sj_core._checks import as_count, as_flag, as_fraction

_SAMPLES_AT_ONCE = 64


class DropConnectLinear(base.MemoryModule):
    r"""Linear layer whose weights are dropped, each sample with a mask of its own.

    In training ``y[t] = a((M * W) x[t] + m * b)`` with ``M, m ~ Bernoulli(1 - p)`` drawn at the
    first step and kept until ``reset``: one mask per sequence. In eval mode the mean of
    ``a(u)`` over ``u ~ N(mu, s^2)``, ``mu = (1 - p) (W x + b)`` and
    ``s^2 = p (1 - p) (W^2 x^2 + b^2)``, which is what the masks average to: by ``samples_num``
    samples, or exactly ``mu`` where there is no activation (Wan et al. 2013).

    Shapes: ``[N, *, in_features]`` with ``step_mode='s'``, ``[T, N, *, in_features]`` with
    ``'m'``; the masks are ``[N, out_features, in_features]`` and ``[N, out_features]``.

    Arguments: ``invariant=False`` draws a fresh mask at every step instead; ``activation`` is a
    stateless module or None.

    Raises ``ValueError`` unless ``0 <= p <= 1`` and for a wrong rank or number of features,
    ``RuntimeError`` if the batch size changes before a reset.

    >>> import torch
    >>> from sj_core import layer
    >>> net = layer.DropConnectLinear(8, 4, p=0.5, step_mode="m")
    >>> y = net(torch.ones(3, 2, 8))
    >>> torch.equal(y[0], y[2])
    True
    """

    bias: nn.Parameter | None
    mask_w: Any
    mask_b: Any
    guards_recompute = False  # masks stay what they were
    takes_tensors_only = True

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        p: float = 0.5,
        samples_num: int = 1024,
        invariant: bool = True,
        activation: nn.Module | None = None,
        step_mode: str = "s",
        device: Any = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(step_mode)
        in_features = as_count("in_features", in_features)
        out_features = as_count("out_features", out_features)
        if activation is not None and not callable(activation):
            raise TypeError(f"`activation` (={activation!r}) must be a module or None.")
        linear = nn.Linear(in_features, out_features, bias, device=device, dtype=dtype)
        self.in_features, self.out_features = in_features, out_features
        self.weight = linear.weight
        self.register_parameter("bias", linear.bias)
        self.p = as_fraction("p", p)
        self.samples_num = as_count("samples_num", samples_num)
        self.invariant = as_flag("invariant", invariant)
        self.activation = activation
        self.register_memory("mask_w", None)
        self.register_memory("mask_b", None)

    def single_step_forward(self, x: Tensor) -> Tensor:
        return self.multi_step_forward(x.unsqueeze(0)).squeeze(0)

    def multi_step_forward(self, x_seq: Tensor) -> Tensor:
        self._check_input(x_seq)
        if x_seq.shape[0] == 0:
            return x_seq.new_empty((*x_seq.shape[:-1], self.out_features))
        if not self.training:
            return self._mean(x_seq)
        if self.invariant:
            return self._activate(self._dropped(x_seq))
        return torch.cat([self._activate(self._dropped(x[None])) for x in x_seq])

    def _dropped(self, x_seq: Tensor) -> Tensor:
        n = x_seq.shape[1]
        if self.mask_w is None or not self.invariant:
            self.mask_w = self._draw(n, self.weight)
            self.mask_b = None if self.bias is None else self._draw(n, self.bias)
        mask_w = base.out_of_inference(self.mask_w)
        shape = torch.Size((n, *self.weight.shape))
        self.check_memory("mask_w", mask_w, shape, x_seq.device, x_seq.shape[1:])
        # [N, T * , in] times [N, in, out]: one product for every sample's own weights.
        rows = x_seq.transpose(0, 1).flatten(1, -2)
        weight = (self.weight * mask_w).transpose(1, 2)
        if self.bias is None:
            y = torch.bmm(rows, weight)
        else:
            bias = self.bias * base.out_of_inference(self.mask_b)
            y = torch.baddbmm(bias.unsqueeze(1), rows, weight)
        time_steps, _, *between, _ = x_seq.shape
        return y.reshape(n, time_steps, *between, self.out_features).transpose(0, 1)

    def _draw(self, n: int, parameter: Tensor) -> Tensor:
        shape = (n, *parameter.shape)
        return (torch.rand(shape, device=parameter.device) >= self.p).to(parameter.dtype)

    def _mean(self, x: Tensor) -> Tensor:
        mean = (1 - self.p) * F.linear(x, self.weight, self.bias)
        if self.activation is None:
            return mean
        bias = None if self.bias is None else self.bias.square()
        variance = self.p * (1 - self.p) * F.linear(x.square(), self.weight.square(), bias)
        deviation = variance.sqrt()
        total = torch.zeros_like(mean)
        left = self.samples_num
        while left > 0:
            count = min(left, _SAMPLES_AT_ONCE)
            noise = torch.randn((count, *mean.shape), dtype=mean.dtype, device=mean.device)
            total = total + self._activate(mean + deviation * noise).sum(0)
            left -= count
        return total / self.samples_num

    def _activate(self, x: Tensor) -> Tensor:
        if self.activation is None:
            return x
        y: Tensor = self.activation(x)
        return y

    def _check_input(self, x_seq: Tensor) -> None:
        if x_seq.dim() < 3 or x_seq.shape[-1] != self.in_features:
            lead = "T, " if self.step_mode == "m" else ""
            shape = list(x_seq.shape if self.step_mode == "m" else x_seq.shape[1:])
            raise ValueError(
                f"`x` has shape {shape} but DropConnectLinear with step_mode={self.step_mode!r} "
                f"takes [{lead}N, *, {self.in_features}]."
            )

    def extra_repr(self) -> str:
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, "
            f"bias={self.bias is not None}, p={self.p}, samples_num={self.samples_num}, "
            f"invariant={self.invariant}, step_mode={self.step_mode!r}"
        )

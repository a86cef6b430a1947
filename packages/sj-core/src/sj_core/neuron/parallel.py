"""Parallel spiking neurons: no reset, so that all steps are one product over time."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from sj_core.base import state_dtype
from sj_core.neuron.base import SpikingNode, as_float


class ParallelNode(SpikingNode):
    """What the parallel neurons share: the spike of a weighted sum over time.

    Example:
        >>> from sj_core.neuron import PSN
        >>> PSN(T=2).supported_step_mode()
        ('m',)
    """

    weight: nn.Parameter
    bias: nn.Parameter

    def _spike(self, h: Tensor, x: Tensor) -> Tensor:
        spike: Tensor = self.surrogate_function(h)
        return spike.to(x.dtype)

    def _product(self, weight: Tensor, x_seq: Tensor) -> Tensor:
        """`weight @ x_seq + bias` over time, in the state's dtype, also under autocast."""
        dtype = state_dtype(x_seq)
        with torch.autocast(x_seq.device.type, enabled=False):
            h = torch.addmm(self.bias.to(dtype), weight, x_seq.to(dtype).flatten(1))
        return h.view(x_seq.shape)


class PSN(ParallelNode):
    """Parallel spiking neuron: every step sees every step of the sequence.

    Equation: `H = W X + b`, `S = Theta(H)`, over time: `weight` W is `(T, T)`, `bias` b is `(T, 1)`
    and starts at -1 (a threshold of 1). It has no state.

    Shapes: `(T, N, *)` to the same shape and dtype; 'm' only.

    Errors: ValueError if the sequence has not T steps, or for `step_mode='s'`.

    Source: Fang et al., "Parallel spiking neurons with high efficiency and ability to learn
    long-term dependencies", 2023.

    Example:
        >>> import torch
        >>> from sj_core.neuron import PSN
        >>> node = PSN(T=3)
        >>> torch.nn.init.eye_(node.weight)[0]
        tensor([1., 0., 0.], grad_fn=<SelectBackward0>)
        >>> node(torch.tensor([[0.5], [1.5], [2.0]])).detach().flatten()
        tensor([0., 1., 1.])
    """

    def __init__(
        self,
        T: int,
        surrogate_function: nn.Module | None = None,
        step_mode: str = "m",
        backend: str = "auto",
    ) -> None:
        super().__init__(surrogate_function, step_mode, backend)
        self.T = _count("T", T)
        self.weight = nn.Parameter(_full_weight(T))
        self.bias = nn.Parameter(torch.full((T, 1), -1.0))

    def supported_step_mode(self) -> tuple[str, ...]:
        return ("m",)

    def multi_step_forward(self, x_seq: Tensor) -> Tensor:
        dtype = state_dtype(x_seq)
        if x_seq.shape[0] == 0:
            return torch.empty_like(x_seq)
        _check_steps(self, x_seq)
        return self._spike(self._product(self.weight.to(dtype), x_seq), x_seq)

    def extra_repr(self) -> str:
        return f"T={self.T}, step_mode={self.step_mode!r}, backend={self.backend!r}"


class WindowedNode(ParallelNode):
    """A parallel neuron that sees the last `k` steps and keeps k - 1 of them (memory `queue`).

    Example:
        >>> import torch
        >>> from sj_core.neuron import SlidingPSN
        >>> node = SlidingPSN(k=3)
        >>> node(torch.ones(5)).shape, node.queue.shape
        (torch.Size([5]), torch.Size([2, 5]))
    """

    queue: Any

    def __init__(
        self, k: int, surrogate_function: nn.Module | None, step_mode: str, backend: str
    ) -> None:
        self.k = _count("k", k)
        super().__init__(surrogate_function, step_mode, backend)
        self.register_memory("queue", None)

    def single_step_forward(self, x: Tensor) -> Tensor:
        return self.multi_step_forward(x.unsqueeze(0)).squeeze(0)

    def _windows(self, x_seq: Tensor) -> list[Tensor]:
        """`x[t], x[t-1], ..., x[t-k+1]`, each `(T, N, *)`, zeros before the start."""
        dtype, shape, past = state_dtype(x_seq), x_seq.shape[1:], self.k - 1
        if self.queue is None or past == 0:
            self.queue = torch.zeros((past, *shape), dtype=dtype, device=x_seq.device)
        else:
            self.check_memory("queue", self.queue[0], shape, x_seq.device)
        steps = torch.cat([self.queue.to(dtype), x_seq.to(dtype)])
        length = x_seq.shape[0]
        self.queue = steps[length:]
        return [steps[past - j : past - j + length] for j in range(self.k)]


class MaskedPSN(WindowedNode):
    """PSN that sees the last `k` steps only, as far as `lambda_` says.

    Equation: `H = ((lambda M_k + (1 - lambda)) * W) X + b`, `S = Theta(H)`, with `M_k[t, i]` = 1
    for `t - k < i <= t`, else 0; `weight` W is `(T, T)`, `bias` b is `(T, 1)`, -1 at first.
    Training raises `lambda_` from 0 (a `PSN`) to 1 (causal, and so able to run step by step).

    Shapes: `(T, N, *)` ('m') to the same shape and dtype; with `lambda_=1` also `(N, *)` ('s') and
    sequences shorter than T: the position t goes on between calls, and after T starts at 0.

    Errors: ValueError if `k` is not between 1 and T, `lambda_` is not between 0 and 1, a sequence
    has not T steps, or for 's' while `lambda_` is less than 1.

    Source: Fang et al., "Parallel spiking neurons with high efficiency and ability to learn
    long-term dependencies", 2023.

    Example:
        >>> import torch
        >>> from sj_core.neuron import MaskedPSN
        >>> node = MaskedPSN(k=1, T=3, lambda_init=1.0)
        >>> torch.nn.init.ones_(node.weight)[0]
        tensor([1., 1., 1.], grad_fn=<SelectBackward0>)
        >>> node(torch.tensor([[0.5], [1.5], [2.0]])).detach().flatten()
        tensor([0., 1., 1.])
    """

    t: Any

    def __init__(
        self,
        k: int,
        T: int,
        lambda_init: float = 0.0,
        surrogate_function: nn.Module | None = None,
        step_mode: str = "m",
        backend: str = "auto",
    ) -> None:
        self._lambda = _unit("lambda_init", lambda_init)
        self.T = _count("T", T)
        if _count("k", k) > T:
            raise ValueError(f"`k` (={k}) must be at most `T` (={T}).")
        super().__init__(k, surrogate_function, step_mode, backend)
        self.weight = nn.Parameter(_full_weight(T))
        self.bias = nn.Parameter(torch.full((T, 1), -1.0))
        self.register_memory("t", 0)

    @property
    def lambda_(self) -> float:
        """How far the mask holds: 0 not at all, 1 fully."""
        return self._lambda

    @lambda_.setter
    def lambda_(self, value: float) -> None:
        self._lambda = _unit("lambda_", value)

    def check_step_mode(self, step_mode: str) -> None:
        super().check_step_mode(step_mode)
        if step_mode == "s" and self._lambda < 1.0:
            raise ValueError(
                f"`step_mode` (='s') of {type(self).__name__} needs `lambda_` (={self._lambda}) to "
                "be 1: before, a step depends on later ones."
            )

    def masked_weight(self) -> Tensor:
        """`(lambda M_k + (1 - lambda)) * W`, `(T, T)`."""
        ones = torch.ones_like(self.weight, requires_grad=False)
        mask = ones.tril() - ones.tril(-self.k)
        return (self._lambda * mask + (1.0 - self._lambda)) * self.weight

    def multi_step_forward(self, x_seq: Tensor) -> Tensor:
        dtype = state_dtype(x_seq)
        length = x_seq.shape[0]
        if length == 0:
            return torch.empty_like(x_seq)
        if self._lambda < 1.0:
            self.check_step_mode(self.step_mode)
            _check_steps(self, x_seq)
            return self._spike(self._product(self.masked_weight().to(dtype), x_seq), x_seq)
        if length > self.T:
            _check_steps(self, x_seq)
        # The band of W, one column per lag; row t, lag j is W[t, t - j]. Lags that reach back
        # beyond step 0 weigh nothing, so what an earlier sequence left in the queue is not seen.
        lags = torch.arange(self.k, device=x_seq.device)
        rows = torch.arange(self.T, device=x_seq.device).unsqueeze(1)
        band = self.weight.to(dtype).gather(1, (rows - lags).clamp(min=0)) * (rows >= lags)
        t = torch.as_tensor(self.t, device=x_seq.device)
        position = (t + torch.arange(length, device=x_seq.device)) % self.T
        rank = [length] + [1] * (x_seq.dim() - 1)
        h = self.bias.to(dtype).index_select(0, position).view(rank)
        for lag, x in enumerate(self._windows(x_seq)):
            h = h + band.select(1, lag).index_select(0, position).view(rank) * x
        self.t = (t + length) % self.T
        return self._spike(h, x_seq)

    def extra_repr(self) -> str:
        return (
            f"k={self.k}, T={self.T}, lambda_={self._lambda}, step_mode={self.step_mode!r}, "
            f"backend={self.backend!r}"
        )


class SlidingPSN(WindowedNode):
    """PSN whose `k` weights are the same at every step: any T, and step by step.

    Equation: `H[t] = sum_{i=0}^{k-1} W_i X[t - k + 1 + i] + b`, `S = Theta(H)`, with X = 0 before
    the start; `weight` W is `(k,)`, `bias` b is `(1,)` and starts at -1. With `exp_init` W_{k-1},
    the weight of the present, starts at 1, halving backwards; else uniform in +-1/sqrt(k).

    Shapes: `(N, *)` ('s') or `(T, N, *)` ('m') to the same shape and dtype.

    Errors: ValueError if `k` is less than 1.

    Source: Fang et al., "Parallel spiking neurons with high efficiency and ability to learn
    long-term dependencies", 2023.

    Example:
        >>> import torch
        >>> from sj_core.neuron import SlidingPSN
        >>> SlidingPSN(k=2, step_mode="m")(torch.full((3, 1), 0.8)).detach().flatten()
        tensor([0., 1., 1.])
    """

    def __init__(
        self,
        k: int,
        exp_init: bool = True,
        surrogate_function: nn.Module | None = None,
        step_mode: str = "s",
        backend: str = "auto",
    ) -> None:
        super().__init__(k, surrogate_function, step_mode, backend)
        bound = 1.0 / math.sqrt(k)
        start = torch.empty(k).uniform_(-bound, bound)
        if exp_init:
            start = 2.0 ** (torch.arange(k) - (k - 1.0))
        self.weight = nn.Parameter(start)
        self.bias = nn.Parameter(torch.tensor([-1.0]))

    def multi_step_forward(self, x_seq: Tensor) -> Tensor:
        dtype = state_dtype(x_seq)
        if x_seq.shape[0] == 0:
            return torch.empty_like(x_seq)
        weight = self.weight.to(dtype)
        h: Tensor = self.bias.to(dtype)
        for lag, x in enumerate(self._windows(x_seq)):
            h = h + weight[self.k - 1 - lag] * x
        return self._spike(h, x_seq)

    def extra_repr(self) -> str:
        return f"k={self.k}, step_mode={self.step_mode!r}, backend={self.backend!r}"


def _full_weight(T: int) -> Tensor:
    return nn.init.kaiming_uniform_(torch.empty(T, T), a=math.sqrt(5))


def _count(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"`{name}` (={value!r}) must be an int.")
    if value < 1:
        raise ValueError(f"`{name}` (={value}) must be at least 1.")
    return value


def _unit(name: str, value: Any) -> float:
    number = as_float(name, value)
    if not 0.0 <= number <= 1.0:
        raise ValueError(f"`{name}` (={value}) must be between 0 and 1.")
    return number


def _check_steps(node: PSN | MaskedPSN, x_seq: Tensor) -> None:
    if x_seq.shape[0] != node.T:
        raise ValueError(
            f"`x_seq` (shape {tuple(x_seq.shape)}) of {type(node).__name__} must have `T` "
            f"(={node.T}) steps."
        )

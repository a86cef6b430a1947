"""Parallel spiking neurons that see a window of the last steps."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from sj_core._checks import as_count, as_flag, as_fraction
from sj_core.base import state_dtype
from sj_core.neuron.parallel import ParallelNode, check_steps, full_weight


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
        self.k = as_count("k", k)
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
    Training raises `lambda_` from 0 (a `PSN`) to 1 (causal, and so able to run step by step); the
    `state_dict` holds it.

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
    _lambda_: Tensor

    def __init__(
        self,
        k: int,
        T: int,
        lambda_init: float = 0.0,
        surrogate_function: nn.Module | None = None,
        step_mode: str = "m",
        backend: str = "auto",
    ) -> None:
        self._lambda = as_fraction("lambda_init", lambda_init)
        self.T = as_count("T", T)
        if as_count("k", k) > T:
            raise ValueError(f"`k` (={k}) must be at most `T` (={T}).")
        super().__init__(k, surrogate_function, step_mode, backend)
        self.weight = nn.Parameter(full_weight(T))
        self.bias = nn.Parameter(torch.full((T, 1), -1.0))
        # Saved with the weights; a forward reads the number beside it, which costs nothing.
        self.register_buffer("_lambda_", self._saved_lambda())
        self.register_memory("t", 0)

    @property
    def lambda_(self) -> float:
        """How far the mask holds: 0 not at all, 1 fully."""
        return self._lambda

    @lambda_.setter
    def lambda_(self, value: float) -> None:
        self._lambda = as_fraction("lambda_", value)
        self._lambda_.fill_(self._lambda)

    def _saved_lambda(self) -> Tensor:
        device = self.weight.device
        dtype = torch.float32 if device.type == "mps" else torch.float64  # which it has not
        return torch.tensor(self._lambda, dtype=dtype, device=device)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        for name in ("mask0", "mask1"):  # which SpikingJelly saves, though k and T make them
            state_dict.pop(prefix + name, None)
        super()._load_from_state_dict(state_dict, prefix, *args)
        if self._lambda_.is_meta:
            return
        try:
            self._lambda = as_fraction("lambda_", float(self._lambda_))
        finally:  # one that is refused is not saved later
            self._lambda_ = self._saved_lambda()

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        # Made anew behind the weights: not rounded with them, and not lost by `to_empty`.
        self._buffers.pop("_lambda_")
        try:
            super()._apply(fn, recurse)
        finally:
            self.register_buffer("_lambda_", self._saved_lambda())
        return self

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
            check_steps(self, self.T, x_seq)
            return self._spike(self._product(self.masked_weight().to(dtype), x_seq), x_seq)
        if length > self.T:
            check_steps(self, self.T, x_seq)
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
        if as_flag("exp_init", exp_init):  # draws nothing: layers after it start as they did
            start = 2.0 ** (torch.arange(k) - (k - 1.0))
        else:
            bound = 1.0 / math.sqrt(k)
            start = torch.empty(k).uniform_(-bound, bound)
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

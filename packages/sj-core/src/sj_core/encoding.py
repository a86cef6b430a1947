"""Encoders: they turn values into spikes.

`PoissonEncoder` and `DeltaEncoder` map a tensor to spikes of the same shape. The others
(`LatencyEncoder`, `PeriodicEncoder`, `WeightedPhaseEncoder`, `PopulationEncoder`) encode a
static `x` of shape `(N, *)` into a spike train of shape `(T, N, *)` at the first call after a
reset and give one step of it per call, starting again at its first step after the last;
`encode(x)` gives the whole train at once. Spikes have the dtype of what is encoded.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from torch import Tensor, nn

from sj_core.base import MemoryModule, StepModule

__all__ = [
    "DeltaEncoder",
    "LatencyEncoder",
    "PeriodicEncoder",
    "PoissonEncoder",
    "PopulationEncoder",
    "StatefulEncoder",
    "WeightedPhaseEncoder",
]


def _positive_int(name: str, value: Any, least: int = 1) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"`{name}` (={value!r}) must be an int.")
    if value < least:
        raise ValueError(f"`{name}` (={value}) must be at least {least}.")
    return value


def _floating(x: Tensor) -> Tensor:
    if not isinstance(x, Tensor):
        raise TypeError(f"`x` ({type(x).__name__}) must be a tensor.")
    if not x.is_floating_point():
        raise TypeError(f"`x` (dtype {x.dtype}) must be of a floating dtype; call `x.float()`.")
    return x


def _latency_train(steps: Tensor, T: int, dtype: torch.dtype) -> Tensor:
    """One spike per element, at the step given: `(N, *)` integers -> `(T, N, *)`; -1 is silent."""
    time = torch.arange(T, device=steps.device).view(T, *([1] * steps.dim()))
    return (time == steps).to(dtype)


class PoissonEncoder(nn.Module, StepModule):
    """Rate coding: at every step each element fires with probability `x`.

    Equation: `S = 1 if u < x else 0` with `u` uniform on [0, 1), so values of 0 and below never
    fire and values of 1 and above always do. Draws come from torch's global generator.

    Shapes: `(N, *)` ('s') or `(T, N, *)` ('m') to the same shape and dtype.

    Errors: TypeError if `x` is not of a floating dtype.

    Example:
        >>> import torch
        >>> from sj_core.encoding import PoissonEncoder
        >>> PoissonEncoder()(torch.tensor([0.0, 1.0]))
        tensor([0., 1.])
    """

    def __init__(self, step_mode: str = "s") -> None:
        super().__init__()
        self.step_mode = step_mode

    def forward(self, x: Tensor) -> Tensor:
        # Half precision has too few uniform values for small probabilities: draw in float32.
        draw = torch.float64 if _floating(x).dtype == torch.float64 else torch.float32
        return (torch.rand(x.shape, dtype=draw, device=x.device) < x.to(draw)).to(x.dtype)

    def extra_repr(self) -> str:
        return f"step_mode={self.step_mode!r}"


class StatefulEncoder(MemoryModule):
    """Base of the encoders that spread a static input over `T` steps.

    A subclass writes `encode(x) -> (T, N, *)`. The first call after `reset()` encodes its input;
    that call and the following ones return steps 0, 1, ... `T` - 1, 0, ... whatever is passed.
    'm' is that, repeated: `(T', N, *)`, of which the first step is encoded, to `(T', N, *)`.

    Errors: ValueError if `T` is less than 1; RuntimeError at the first call without an input.

    Example:
        >>> import torch
        >>> from sj_core.encoding import StatefulEncoder
        >>> class Always(StatefulEncoder):
        ...     def encode(self, x):
        ...         return torch.ones(self.T, *x.shape)
        >>> Always(T=2)(torch.zeros(3))
        tensor([1., 1., 1.])
    """

    spike: Tensor | None
    t: int | Tensor

    def __init__(self, T: int, step_mode: str = "s") -> None:
        super().__init__(step_mode)
        self.T = _positive_int("T", T)
        self.register_memory("spike", None)
        self.register_memory("t", 0)

    def encode(self, x: Tensor) -> Tensor:
        """Return the whole train `(T, N, *)` of `x` `(N, *)`; the state is neither read nor set."""
        raise NotImplementedError(f"`{type(self).__name__}` must define `encode(x)`.")

    def forward(self, x: Tensor | None = None) -> Tensor:
        """Return the next step `(N, *)` ('s') or the next `T'` steps of a `(T', N, *)` ('m')."""
        if self.step_mode == "s":
            return self.single_step_forward(x)
        if x is None:
            raise TypeError("`x` (=None) must be a tensor of shape (T, N, *) in step mode 'm'.")
        return self.multi_step_forward(x)

    def single_step_forward(self, x: Tensor | None = None) -> Tensor:
        if self.spike is None:
            self.spike = self._first(x)
        # A tensor, so that the position is part of the explicit state of the net.
        t = torch.as_tensor(self.t, device=self.spike.device)
        self.t = (t + 1) % self.spike.shape[0]
        return self.spike.index_select(0, t.view(1)).squeeze(0)

    def multi_step_forward(self, x_seq: Tensor) -> Tensor:
        if x_seq.shape[0] == 0:
            return x_seq.new_empty((0, *self._first(x_seq.new_zeros(x_seq.shape[1:])).shape[1:]))
        return torch.stack([self.single_step_forward(x) for x in x_seq])

    def _first(self, x: Tensor | None) -> Tensor:
        if x is None:
            raise RuntimeError("`x` (=None) must be a tensor at the first call after a reset.")
        return self.encode(x)

    def extra_repr(self) -> str:
        return f"T={self.T}, step_mode={self.step_mode!r}"


class LatencyEncoder(StatefulEncoder):
    """Time-to-first-spike coding: one spike per element, the earlier the larger `x` in [0, 1] is.

    Equation: the spike comes at step `round(t_f)` with
    linear: `t_f = (T - 1) (1 - x)`;
    log: `t_f = (T - 1) - ln(alpha x + 1)`, `alpha = exp(T - 1) - 1`.

    Shapes: `(N, *)` to `(N, *)` per call; `encode`: `(N, *)` to `(T, N, *)`.

    Errors: ValueError if `T` < 1, if `enc_function` is neither 'linear' nor 'log', or if `x` leaves
    [0, 1]; TypeError if `x` is not of a floating dtype.

    Example:
        >>> import torch
        >>> from sj_core.encoding import LatencyEncoder
        >>> LatencyEncoder(T=3).encode(torch.tensor([0.0, 0.5, 1.0]))
        tensor([[0., 0., 1.],
                [0., 1., 0.],
                [1., 0., 0.]])
    """

    def __init__(
        self, T: int, enc_function: Literal["linear", "log"] = "linear", step_mode: str = "s"
    ) -> None:
        super().__init__(T, step_mode)
        if enc_function not in ("linear", "log"):
            raise ValueError(f"`enc_function` (={enc_function!r}) must be 'linear' or 'log'.")
        self.enc_function = enc_function

    def encode(self, x: Tensor) -> Tensor:
        _in_unit_interval(x, 1.0)
        value = x.double()
        last = self.T - 1
        if self.enc_function == "linear":
            t_f = last * (1.0 - value)
        else:
            # alpha x + 1 = e^(T-1) x + (1 - x): the sum of exponentials cannot overflow.
            t_f = last - torch.logaddexp(last + value.log(), torch.log1p(-value))
        return _latency_train(t_f.round().long().clamp_(0, last), self.T, x.dtype)

    def extra_repr(self) -> str:
        return f"T={self.T}, enc_function={self.enc_function!r}, step_mode={self.step_mode!r}"


class PeriodicEncoder(StatefulEncoder):
    """Replays a given spike train, step by step, again and again.

    Shapes: `spike` `(T, *)`; per call `(*)`, or that expanded to the shape of the first input.

    Errors: TypeError if `spike` is no tensor; ValueError if it has no step, or if it does not
    broadcast to the input's shape.

    Example:
        >>> import torch
        >>> from sj_core.encoding import PeriodicEncoder
        >>> encoder = PeriodicEncoder(torch.tensor([[1.0], [0.0]]))
        >>> [encoder().item() for _ in range(3)]
        [1.0, 0.0, 1.0]
    """

    pattern: Tensor

    def __init__(self, spike: Tensor, step_mode: str = "s") -> None:
        if not isinstance(spike, Tensor):
            raise TypeError(f"`spike` ({type(spike).__name__}) must be a tensor of shape (T, *).")
        if spike.dim() == 0 or spike.shape[0] == 0:
            raise ValueError(f"`spike` (shape {tuple(spike.shape)}) must have at least one step.")
        super().__init__(spike.shape[0], step_mode)
        self.register_buffer("pattern", spike.detach().clone(), persistent=False)

    def encode(self, x: Tensor | None = None) -> Tensor:
        """Return the train, expanded to `(T, *x.shape)` when `x` is given."""
        if x is None or x.shape == self.pattern.shape[1:]:
            return self.pattern
        shape = tuple(self.pattern.shape)
        try:
            view = self.pattern.view(self.T, *([1] * (x.dim() - len(shape) + 1)), *shape[1:])
            return view.expand(self.T, *x.shape)
        except RuntimeError:
            raise ValueError(
                f"`x` (shape {tuple(x.shape)}) must be a shape that the steps of `spike` "
                f"{shape[1:]} broadcast to."
            ) from None

    def _first(self, x: Tensor | None) -> Tensor:
        return self.encode(x)


class WeightedPhaseEncoder(StatefulEncoder):
    """Phase coding (Kim et al., "Deep neural networks with weighted spikes", 2018).

    Equation: the `K` phases are the binary digits of `x`: phase k weighs `2^-(k+1)`, and
    `sum_k S[k] 2^-(k+1)` is the largest multiple of `2^-K` that is not above `x`.

    Shapes: `(N, *)` to `(N, *)` per call; `encode`: `(N, *)` to `(K, N, *)`.

    Errors: ValueError if `K` < 1 or if `x` leaves [0, 1 - 2^-K]; TypeError if `x` is not of a
    floating dtype.

    Example:
        >>> import torch
        >>> from sj_core.encoding import WeightedPhaseEncoder
        >>> WeightedPhaseEncoder(K=3).encode(torch.tensor([0.625])).flatten()
        tensor([1., 0., 1.])
    """

    def __init__(self, K: int, step_mode: str = "s") -> None:
        super().__init__(_positive_int("K", K), step_mode)
        self.K = K

    def encode(self, x: Tensor) -> Tensor:
        _in_unit_interval(x, 1.0 - 2.0**-self.K, f"1 - 2^-{self.K}")
        rest = x.double()
        phases = []
        for k in range(self.K):
            weight = 2.0 ** -(k + 1)
            fires = rest >= weight
            rest = rest - fires * weight
            phases.append(fires)
        return torch.stack(phases).to(x.dtype)

    def extra_repr(self) -> str:
        return f"K={self.K}, step_mode={self.step_mode!r}"


class PopulationEncoder(StatefulEncoder):
    """Population coding with Gaussian receptive fields (Bohte et al., 2002).

    Each value is seen by `n` neurons. Neuron i = 1 .. n has its centre at
    `mu_i = x_min + (2i - 3)/2 (x_max - x_min)/(n - 2)` and the width
    `sigma = (x_max - x_min)/(n - 2)/beta`; its response is `r_i = exp(-(x - mu_i)^2/(2 sigma^2))`.
    It fires once, at step `round((T - 1) (1 - r_i))`, and not at all where `r_i < r_min`.

    Shapes: `(N, *)` to `(N, *, n)` per call; `encode`: `(N, *)` to `(T, N, *, n)`;
    `responses`: `(N, *)` to `(N, *, n)`.

    Errors: ValueError if `T` < 1, `n` < 3, `x_max` <= `x_min`, `beta` <= 0 or `r_min` is not in
    [0, 1]; TypeError if `x` is not of a floating dtype.

    Example:
        >>> import torch
        >>> from sj_core.encoding import PopulationEncoder
        >>> encoder = PopulationEncoder(T=5, n=4, x_min=0.0, x_max=1.0, beta=1.0)
        >>> encoder.responses(torch.tensor([0.25])).mul(100).round()
        tensor([[ 61., 100.,  61.,  14.]])
        >>> encoder.encode(torch.tensor([0.25])).argmax(0)
        tensor([[2, 0, 2, 3]])
    """

    def __init__(
        self,
        T: int,
        n: int,
        x_min: float = 0.0,
        x_max: float = 1.0,
        beta: float = 1.5,
        r_min: float = 0.1,
        step_mode: str = "s",
    ) -> None:
        super().__init__(T, step_mode)
        self.n = _positive_int("n", n, 3)
        if not x_max > x_min:
            raise ValueError(f"`x_max` (={x_max}) must be greater than `x_min` (={x_min}).")
        if not beta > 0:
            raise ValueError(f"`beta` (={beta}) must be greater than 0.")
        if not 0 <= r_min <= 1:
            raise ValueError(f"`r_min` (={r_min}) must be between 0 and 1.")
        self.x_min, self.x_max = float(x_min), float(x_max)
        self.beta, self.r_min = float(beta), float(r_min)
        self.step = (self.x_max - self.x_min) / (n - 2)

    def responses(self, x: Tensor) -> Tensor:
        """Return `r` `(N, *, n)`, the response of every neuron to `x` `(N, *)`."""
        _floating(x)
        i = torch.arange(1, self.n + 1, device=x.device, dtype=torch.float64)
        centre = self.x_min + (2 * i - 3) / 2 * self.step
        sigma = self.step / self.beta
        return torch.exp(-0.5 * ((x.double().unsqueeze(-1) - centre) / sigma) ** 2).to(x.dtype)

    def encode(self, x: Tensor) -> Tensor:
        response = self.responses(x)
        steps = ((self.T - 1) * (1.0 - response.double())).round().long()
        return _latency_train(steps.masked_fill(response < self.r_min, -1), self.T, x.dtype)

    def extra_repr(self) -> str:
        return (
            f"T={self.T}, n={self.n}, x_min={self.x_min}, x_max={self.x_max}, beta={self.beta}, "
            f"r_min={self.r_min}, step_mode={self.step_mode!r}"
        )


class DeltaEncoder(MemoryModule):
    """Delta modulation: a spike where the signal has changed enough since the step before.

    Equation: `d = x[t] - x[t-1]`; `S = 1` where `d >= threshold`; with `off_spike=True`, `S = -1`
    where `d <= -threshold`; else 0. The signal before the first step is 0, or, with
    `padding=True`, the first step itself (which then gives no spike).

    Shapes: `(N, *)` ('s') or `(T, N, *)` ('m') to the same shape and dtype.

    Errors: ValueError if `threshold` <= 0; TypeError if `x` is not of a floating dtype;
    RuntimeError if the shape changes without a reset.

    Example:
        >>> import torch
        >>> from sj_core.encoding import DeltaEncoder
        >>> signal = torch.tensor([[0.0], [0.5], [0.6], [0.1]])
        >>> DeltaEncoder(0.3, off_spike=True, step_mode="m")(signal).flatten()
        tensor([ 0.,  1.,  0., -1.])
    """

    previous: Tensor | None

    def __init__(
        self,
        threshold: float = 0.1,
        off_spike: bool = False,
        padding: bool = False,
        step_mode: str = "s",
    ) -> None:
        super().__init__(step_mode)
        if not (threshold > 0 and math.isfinite(threshold)):
            raise ValueError(f"`threshold` (={threshold}) must be greater than 0.")
        self.threshold = float(threshold)
        self.off_spike = off_spike
        self.padding = padding
        self.register_memory("previous", None)

    def encode(self, x_seq: Tensor) -> Tensor:
        """Return the spikes of a whole signal `(T, N, *)`; the state is neither read nor set."""
        return self._spikes(x_seq, None)

    def single_step_forward(self, x: Tensor) -> Tensor:
        return self.multi_step_forward(x.unsqueeze(0))[0]

    def multi_step_forward(self, x_seq: Tensor) -> Tensor:
        spikes = self._spikes(x_seq, self.previous)
        if x_seq.shape[0]:
            self.previous = x_seq[-1]
        return spikes

    def _spikes(self, x_seq: Tensor, previous: Tensor | None) -> Tensor:
        if _floating(x_seq).shape[0] == 0:
            return torch.empty_like(x_seq)
        if previous is None:
            previous = x_seq[0] if self.padding else torch.zeros_like(x_seq[0])
        elif previous.shape != x_seq.shape[1:]:
            raise RuntimeError(
                f"The input's shape {tuple(x_seq.shape[1:])} must be that of the kept state, "
                f"{tuple(previous.shape)}; call `functional.reset_net(net)` between sequences."
            )
        change = x_seq - torch.cat([previous.to(x_seq).unsqueeze(0), x_seq[:-1]])
        spikes = (change >= self.threshold).to(x_seq.dtype)
        if self.off_spike:
            spikes = spikes - (change <= -self.threshold).to(x_seq.dtype)
        return spikes

    def extra_repr(self) -> str:
        return (
            f"threshold={self.threshold}, off_spike={self.off_spike}, padding={self.padding}, "
            f"step_mode={self.step_mode!r}"
        )


def _in_unit_interval(x: Tensor, high: float, high_text: str = "1") -> None:
    _floating(x)
    if x.numel() and not bool(((x >= 0) & (x.double() <= high)).all()):
        low, top = x.min().item(), x.max().item()
        raise ValueError(
            f"`x` (from {low:g} to {top:g}) must be between 0 and {high_text}; scale it first."
        )

"""Batch normalisations made for spiking nets: by the threshold, and by the time step."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from sj_core._checks import as_count, as_float
from sj_core.layer.norm import FoldTimeBatchNorm


class ThresholdDependentNorm(FoldTimeBatchNorm):
    """What the threshold-dependent batch normalisations of 1, 2 and 3 dimensions share."""

    weight: Any

    def __init__(
        self, alpha: float, v_th: float, *args: Any, step_mode: str = "m", **kwargs: Any
    ) -> None:
        super().__init__(*args, step_mode=step_mode, **kwargs)
        self.alpha, self.v_th = as_float("alpha", alpha), as_float("v_th", v_th)
        if self.weight is None:
            raise ValueError(
                f"`affine` (=False) of {type(self).__name__} must be True: `alpha * v_th` is its "
                "weight at the start."
            )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        super().reset_parameters()  # type: ignore[misc]
        if self.weight is not None and hasattr(self, "alpha"):
            nn.init.constant_(self.weight, self.alpha * self.v_th)

    def forward(self, input: Any, *args: Any, **kwargs: Any) -> Any:
        if self.step_mode == "s" and self.training:  # type: ignore[attr-defined]
            raise RuntimeError(
                f"{type(self).__name__} in training needs step_mode='m', for its statistics run "
                "over all time steps; call `functional.set_step_mode(net, 'm')` or `net.eval()`."
            )
        return super().forward(input, *args, **kwargs)

    def extra_repr(self) -> str:
        return f"alpha={self.alpha}, v_th={self.v_th}, {super().extra_repr()}"


class ThresholdDependentBatchNorm1d(ThresholdDependentNorm, nn.BatchNorm1d):
    """:class:`ThresholdDependentBatchNorm2d` for ``[T, N, C]`` and ``[T, N, C, L]``.

    >>> import torch
    >>> from sj_core import layer
    >>> layer.ThresholdDependentBatchNorm1d(1.0, 0.5, 3).weight.tolist()
    [0.5, 0.5, 0.5]
    """

    step_shapes = ("N, C", "N, C, L")


class ThresholdDependentBatchNorm2d(ThresholdDependentNorm, nn.BatchNorm2d):
    """Threshold-dependent batch normalisation (tdBN): activations in proportion to the threshold.

    ``y = weight (x - mean) / sqrt(var + eps) + bias`` with ``weight = alpha * v_th`` and
    ``bias = 0`` at the start, and mean and variance over ``T``, ``N``, ``H`` and ``W``
    (Zheng et al. 2021). ``alpha`` is 1 in a chain of layers, and ``1/sqrt(n)`` where n branches
    are added; ``v_th`` is the threshold of the neuron that follows. The other arguments are those
    of :class:`torch.nn.BatchNorm2d`.

    Shapes: ``[T, N, C, H, W]``; in eval mode also ``[N, C, H, W]`` with ``step_mode='s'``.

    Raises ``ValueError`` for another rank and for ``affine=False``, ``RuntimeError`` for training
    with ``step_mode='s'``.

    >>> import torch
    >>> from sj_core import layer
    >>> norm = layer.ThresholdDependentBatchNorm2d(alpha=1.0, v_th=0.5, num_features=3)
    >>> round(norm(torch.randn(4, 8, 3, 16, 16)).std().item(), 2)
    0.5
    """

    step_shapes = ("N, C, H, W",)


class ThresholdDependentBatchNorm3d(ThresholdDependentNorm, nn.BatchNorm3d):
    """:class:`ThresholdDependentBatchNorm2d` for ``[T, N, C, D, H, W]``.

    >>> import torch
    >>> from sj_core import layer
    >>> layer.ThresholdDependentBatchNorm3d(1.0, 0.5, 2).weight.tolist()
    [0.5, 0.5]
    """

    step_shapes = ("N, C, D, H, W",)


class TemporalEffectiveNorm(FoldTimeBatchNorm):
    """What the temporal effective batch normalisations of 1, 2 and 3 dimensions share."""

    _step_mode = "m"

    def __init__(self, T: int, *args: Any, step_mode: str = "m", **kwargs: Any) -> None:
        T = as_count("T", T)
        super().__init__(*args, step_mode=step_mode, **kwargs)
        self.T = T
        like = {k: v for k, v in kwargs.items() if k in ("device", "dtype")}
        self.scale = nn.Parameter(torch.ones(T, **like))

    def supported_step_mode(self) -> tuple[str, ...]:
        return ("m",)

    def sequence_forward(self, x_seq: Tensor, *args: Any, **kwargs: Any) -> Any:
        if x_seq.shape[0] == 0:
            return x_seq.clone()
        if x_seq.shape[0] != self.T:
            raise ValueError(
                f"`input` has shape {list(x_seq.shape)}, hence {x_seq.shape[0]} time steps, but "
                f"{type(self).__name__} was built for `T` (={self.T})."
            )
        y = super().sequence_forward(x_seq, *args, **kwargs)
        return y * self.scale.to(y.dtype).view(-1, *(1,) * (y.dim() - 1))

    def extra_repr(self) -> str:
        return f"T={self.T}, {super().extra_repr()}"


class TemporalEffectiveBatchNorm1d(TemporalEffectiveNorm, nn.BatchNorm1d):
    """:class:`TemporalEffectiveBatchNorm2d` for ``[T, N, C]`` and ``[T, N, C, L]``.

    >>> import torch
    >>> from sj_core import layer
    >>> layer.TemporalEffectiveBatchNorm1d(4, 3)(torch.randn(4, 2, 3)).shape
    torch.Size([4, 2, 3])
    """

    step_shapes = ("N, C", "N, C, L")


class TemporalEffectiveBatchNorm2d(TemporalEffectiveNorm, nn.BatchNorm2d):
    """Temporal effective batch normalisation (TEBN): a learnable scale for each time step.

    ``y[t] = scale[t] (weight (x[t] - mean) / sqrt(var + eps) + bias)`` with mean and variance over
    ``T``, ``N``, ``H`` and ``W``, and ``scale = 1`` at the start (Duan et al. 2022). The arguments
    after ``T`` are those of :class:`torch.nn.BatchNorm2d`.

    Shapes: ``[T, N, C, H, W]``, ``step_mode='m'`` only.

    Raises ``ValueError`` for another rank and for another number of time steps.

    >>> import torch
    >>> from sj_core import layer
    >>> norm = layer.TemporalEffectiveBatchNorm2d(4, 3)
    >>> _ = torch.nn.init.constant_(norm.scale[2:], 0.0)
    >>> norm(torch.randn(4, 2, 3, 8, 8))[2:].abs().max().item()
    0.0
    """

    step_shapes = ("N, C, H, W",)


class TemporalEffectiveBatchNorm3d(TemporalEffectiveNorm, nn.BatchNorm3d):
    """:class:`TemporalEffectiveBatchNorm2d` for ``[T, N, C, D, H, W]``.

    >>> import torch
    >>> from sj_core import layer
    >>> layer.TemporalEffectiveBatchNorm3d(4, 3)(torch.randn(4, 2, 3, 2, 2, 2)).shape
    torch.Size([4, 2, 3, 2, 2, 2])
    """

    step_shapes = ("N, C, D, H, W",)

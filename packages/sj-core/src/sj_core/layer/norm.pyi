# Constructors of torch's classes with `step_mode` added, for type checkers and editors.
from typing import ClassVar

import torch
from torch import nn

from sj_core.layer.fold import FoldTime

class FoldTimeBatchNorm(FoldTime): ...

class BatchNorm1d(FoldTimeBatchNorm, nn.BatchNorm1d):
    step_shapes: ClassVar[tuple[str, ...]]
    def __init__(
        self,
        num_features: int,
        eps: float = 1e-05,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: torch.device | str | int | None = None,
        dtype: torch.dtype | None = None,
        bias: bool = True,
        *,
        step_mode: str = "s",
    ) -> None: ...

class BatchNorm2d(FoldTimeBatchNorm, nn.BatchNorm2d):
    step_shapes: ClassVar[tuple[str, ...]]
    def __init__(
        self,
        num_features: int,
        eps: float = 1e-05,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: torch.device | str | int | None = None,
        dtype: torch.dtype | None = None,
        bias: bool = True,
        *,
        step_mode: str = "s",
    ) -> None: ...

class BatchNorm3d(FoldTimeBatchNorm, nn.BatchNorm3d):
    step_shapes: ClassVar[tuple[str, ...]]
    def __init__(
        self,
        num_features: int,
        eps: float = 1e-05,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: torch.device | str | int | None = None,
        dtype: torch.dtype | None = None,
        bias: bool = True,
        *,
        step_mode: str = "s",
    ) -> None: ...

class GroupNorm(FoldTime, nn.GroupNorm):
    step_shapes: ClassVar[tuple[str, ...]]
    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-05,
        affine: bool = True,
        device: torch.device | str | int | None = None,
        dtype: torch.dtype | None = None,
        bias: bool = True,
        *,
        step_mode: str = "s",
    ) -> None: ...

class LayerNorm(FoldTime, nn.LayerNorm):
    step_shapes: ClassVar[tuple[str, ...]]
    def __init__(
        self,
        normalized_shape: int | list[int] | torch.Size,
        eps: float = 1e-05,
        elementwise_affine: bool = True,
        bias: bool = True,
        device: torch.device | str | int | None = None,
        dtype: torch.dtype | None = None,
        *,
        step_mode: str = "s",
    ) -> None: ...

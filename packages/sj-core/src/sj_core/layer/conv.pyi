# Constructors of torch's classes with `step_mode` added, for type checkers and editors.
from typing import Any, ClassVar, Literal

import torch
from torch import nn

from sj_core.layer.fold import FoldTime

class _FoldTimeTransposed(FoldTime):
    def forward(self, input: Any, output_size: list[int] | None = None) -> Any: ...

class Conv1d(FoldTime, nn.Conv1d):
    step_shapes: ClassVar[tuple[str, ...]]
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int],
        stride: int | tuple[int] = 1,
        padding: str | int | tuple[int] = 0,
        dilation: int | tuple[int] = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: Literal["zeros", "reflect", "replicate", "circular"] = "zeros",
        device: torch.device | str | int | None = None,
        dtype: torch.dtype | None = None,
        *,
        step_mode: str = "s",
    ) -> None: ...

class Conv2d(FoldTime, nn.Conv2d):
    step_shapes: ClassVar[tuple[str, ...]]
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        padding: str | int | tuple[int, int] = 0,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: Literal["zeros", "reflect", "replicate", "circular"] = "zeros",
        device: torch.device | str | int | None = None,
        dtype: torch.dtype | None = None,
        *,
        step_mode: str = "s",
    ) -> None: ...

class Conv3d(FoldTime, nn.Conv3d):
    step_shapes: ClassVar[tuple[str, ...]]
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int, int],
        stride: int | tuple[int, int, int] = 1,
        padding: str | int | tuple[int, int, int] = 0,
        dilation: int | tuple[int, int, int] = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: Literal["zeros", "reflect", "replicate", "circular"] = "zeros",
        device: torch.device | str | int | None = None,
        dtype: torch.dtype | None = None,
        *,
        step_mode: str = "s",
    ) -> None: ...

class ConvTranspose1d(_FoldTimeTransposed, nn.ConvTranspose1d):
    step_shapes: ClassVar[tuple[str, ...]]
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int],
        stride: int | tuple[int] = 1,
        padding: int | tuple[int] = 0,
        output_padding: int | tuple[int] = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: int | tuple[int] = 1,
        padding_mode: Literal["zeros", "reflect", "replicate", "circular"] = "zeros",
        device: torch.device | str | int | None = None,
        dtype: torch.dtype | None = None,
        *,
        step_mode: str = "s",
    ) -> None: ...

class ConvTranspose2d(_FoldTimeTransposed, nn.ConvTranspose2d):
    step_shapes: ClassVar[tuple[str, ...]]
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] = 0,
        output_padding: int | tuple[int, int] = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: int | tuple[int, int] = 1,
        padding_mode: Literal["zeros", "reflect", "replicate", "circular"] = "zeros",
        device: torch.device | str | int | None = None,
        dtype: torch.dtype | None = None,
        *,
        step_mode: str = "s",
    ) -> None: ...

class ConvTranspose3d(_FoldTimeTransposed, nn.ConvTranspose3d):
    step_shapes: ClassVar[tuple[str, ...]]
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int, int],
        stride: int | tuple[int, int, int] = 1,
        padding: int | tuple[int, int, int] = 0,
        output_padding: int | tuple[int, int, int] = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: int | tuple[int, int, int] = 1,
        padding_mode: Literal["zeros", "reflect", "replicate", "circular"] = "zeros",
        device: torch.device | str | int | None = None,
        dtype: torch.dtype | None = None,
        *,
        step_mode: str = "s",
    ) -> None: ...

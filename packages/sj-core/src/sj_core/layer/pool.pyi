# Constructors of torch's classes with `step_mode` added, for type checkers and editors.
from typing import ClassVar

from torch import nn

from sj_core.layer.fold import FoldTime

class MaxPool1d(FoldTime, nn.MaxPool1d):
    step_shapes: ClassVar[tuple[str, ...]]
    def __init__(
        self,
        kernel_size: int | tuple[int, ...],
        stride: int | tuple[int, ...] | None = None,
        padding: int | tuple[int, ...] = 0,
        dilation: int | tuple[int, ...] = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
        *,
        step_mode: str = "s",
    ) -> None: ...

class MaxPool2d(FoldTime, nn.MaxPool2d):
    step_shapes: ClassVar[tuple[str, ...]]
    def __init__(
        self,
        kernel_size: int | tuple[int, ...],
        stride: int | tuple[int, ...] | None = None,
        padding: int | tuple[int, ...] = 0,
        dilation: int | tuple[int, ...] = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
        *,
        step_mode: str = "s",
    ) -> None: ...

class MaxPool3d(FoldTime, nn.MaxPool3d):
    step_shapes: ClassVar[tuple[str, ...]]
    def __init__(
        self,
        kernel_size: int | tuple[int, ...],
        stride: int | tuple[int, ...] | None = None,
        padding: int | tuple[int, ...] = 0,
        dilation: int | tuple[int, ...] = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
        *,
        step_mode: str = "s",
    ) -> None: ...

class AvgPool1d(FoldTime, nn.AvgPool1d):
    step_shapes: ClassVar[tuple[str, ...]]
    def __init__(
        self,
        kernel_size: int | tuple[int],
        stride: int | tuple[int] | None = None,
        padding: int | tuple[int] = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        *,
        step_mode: str = "s",
    ) -> None: ...

class AvgPool2d(FoldTime, nn.AvgPool2d):
    step_shapes: ClassVar[tuple[str, ...]]
    def __init__(
        self,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] | None = None,
        padding: int | tuple[int, int] = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
        *,
        step_mode: str = "s",
    ) -> None: ...

class AvgPool3d(FoldTime, nn.AvgPool3d):
    step_shapes: ClassVar[tuple[str, ...]]
    def __init__(
        self,
        kernel_size: int | tuple[int, int, int],
        stride: int | tuple[int, int, int] | None = None,
        padding: int | tuple[int, int, int] = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
        *,
        step_mode: str = "s",
    ) -> None: ...

class AdaptiveAvgPool1d(FoldTime, nn.AdaptiveAvgPool1d):
    step_shapes: ClassVar[tuple[str, ...]]
    def __init__(
        self,
        output_size: int | tuple[int | None, ...] | None,
        *,
        step_mode: str = "s",
    ) -> None: ...

class AdaptiveAvgPool2d(FoldTime, nn.AdaptiveAvgPool2d):
    step_shapes: ClassVar[tuple[str, ...]]
    def __init__(
        self,
        output_size: int | tuple[int | None, ...] | None,
        *,
        step_mode: str = "s",
    ) -> None: ...

class AdaptiveAvgPool3d(FoldTime, nn.AdaptiveAvgPool3d):
    step_shapes: ClassVar[tuple[str, ...]]
    def __init__(
        self,
        output_size: int | tuple[int | None, ...] | None,
        *,
        step_mode: str = "s",
    ) -> None: ...

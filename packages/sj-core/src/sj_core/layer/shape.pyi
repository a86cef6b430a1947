# Constructors of torch's classes with `step_mode` added, for type checkers and editors.
from typing import Any, ClassVar

from torch import Tensor, nn

from sj_core.layer.fold import FoldTime

class Flatten(FoldTime, nn.Flatten):
    step_shapes: ClassVar[tuple[str, ...]]
    def __init__(
        self,
        start_dim: int = 1,
        end_dim: int = -1,
        *,
        step_mode: str = "s",
    ) -> None: ...
    def sequence_forward(self, x_seq: Tensor, *args: Any, **kwargs: Any) -> Tensor: ...

class Upsample(FoldTime, nn.Upsample):
    step_shapes: ClassVar[tuple[str, ...]]
    def __init__(
        self,
        size: int | tuple[int, ...] | None = None,
        scale_factor: float | tuple[float, ...] | None = None,
        mode: str = "nearest",
        align_corners: bool | None = None,
        recompute_scale_factor: bool | None = None,
        *,
        step_mode: str = "s",
    ) -> None: ...

# Constructors of torch's classes with `step_mode` added, for type checkers and editors.
from typing import ClassVar

import torch
from torch import nn

from sj_core.layer.fold import FoldTime

class Linear(FoldTime, nn.Linear):
    step_shapes: ClassVar[tuple[str, ...]]
    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        device: torch.device | str | int | None = None,
        dtype: torch.dtype | None = None,
        *,
        step_mode: str = "s",
    ) -> None: ...

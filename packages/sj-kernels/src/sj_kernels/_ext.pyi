"""Kernels of sj_kernels on raw pointers; all checks are made in Python."""

from collections.abc import Sequence
from typing import Any

class Neuron:
    def __init__(
        self,
        kind: int,
        p: Sequence[float],
        decay_input: bool,
        v_th: float,
        hard: bool,
        v_reset: float,
        surrogate: int,
        surrogate_p: Sequence[float],
        detach: bool,
        scale: float,
    ) -> None: ...
    def forward(self, *args: int | float) -> None: ...
    def backward(self, *args: int | float) -> float: ...

def build() -> dict[str, Any]: ...
def isa_available() -> list[str]: ...
def isa_in_use() -> str: ...
def isa_select(name: str) -> None: ...
def parallel_backend() -> str: ...

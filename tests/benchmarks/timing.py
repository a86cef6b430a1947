"""What the bars of the fused neurons are timed with: nodes, inputs, a training step, ratios."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from sj_core import neuron, surrogate

Call = Callable[[], object]
Row = tuple[str, str, float, float]  # bar, what, ratio, reach


def ratios(reference: Call, calls: list[Call], runs: int = 21, repeat: int = 1) -> list[float]:
    """Times of `calls` over that of `reference`, all in turn."""
    times: list[list[float]] = [[] for _ in range(len(calls) + 1)]
    for i in range(runs + 3):
        for kept, call in zip(times, [reference, *calls], strict=True):
            start = time.perf_counter()
            for _ in range(repeat):
                call()
            if i >= 3:
                kept.append(time.perf_counter() - start)
    first, *others = (statistics.median(kept) for kept in times)
    return [other / first for other in others]


def lif(cls: type = neuron.LIFNode, **settings: object) -> neuron.BaseNode:
    defaults = {
        "surrogate_function": surrogate.ATan(),
        "detach_reset": True,
        "step_mode": "m",
        "backend": "native",
    }
    return cls(**{**defaults, **settings})


def training(function: Callable[[Tensor], Tensor], x: Tensor, grad: Tensor) -> Call:
    def run() -> None:
        x.grad = None
        function(x).backward(grad)

    return run


def fresh(node: torch.nn.Module) -> Callable[[Tensor], Tensor]:
    def call(x: Tensor) -> Tensor:
        node.reset()
        return node(x)

    return call


def pair(shape: tuple[int, ...], folded: bool = False) -> tuple[Tensor, Tensor]:
    x, grad = torch.randn(shape) + 0.5, torch.randn(shape)
    if folded:  # channels-last images
        x = x.unflatten(-1, (4, 1, -1)).movedim(2, -1).contiguous().movedim(-1, 2)
        grad = torch.empty_like(x).normal_()
    return x.requires_grad_(), grad

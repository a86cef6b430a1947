"""One run of a net, watched, that leaves no trace in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from sj_core.functional.state import functional_forward


def observe(
    net: nn.Module, x: Tensor, kinds: Any, record: Callable[[str, Any, Tensor, Tensor], None]
) -> None:
    hooks = [
        module.register_forward_hook(
            lambda m, inputs, y, name=name: record(name, m, inputs[0].detach(), y.detach())
        )
        for name, module in net.named_modules()
        if isinstance(module, kinds)
    ]
    try:
        with _evaluation(net), torch.no_grad():
            functional_forward(net, None, x)
    finally:
        for hook in hooks:
            hook.remove()


def refuse_no_sample(x: Tensor, samples: int) -> None:
    if samples == 0:
        raise ValueError(f"`x` (shape {tuple(x.shape)}) must hold at least one sample.")


@contextmanager
def _evaluation(net: nn.Module) -> Iterator[None]:
    modes = [(module, module.training) for module in net.modules()]
    net.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training

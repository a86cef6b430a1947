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
    def noting(name: str) -> Callable[..., None]:
        def note(m: Any, inputs: tuple[Any, ...], named: dict[str, Any], y: Tensor) -> None:
            record(name, m, first_input(inputs, named).detach(), y.detach())

        return note

    hooks = [
        module.register_forward_hook(noting(name), with_kwargs=True)
        for name, module in net.named_modules()
        if isinstance(module, kinds)
    ]
    try:
        with _evaluation(net), torch.no_grad():
            functional_forward(net, None, x)
    finally:
        for hook in hooks:
            hook.remove()


def first_input(inputs: tuple[Any, ...], named: dict[str, Any]) -> Any:
    """The first input of a call, which may have been handed over by name."""
    return next(iter((*inputs, *named.values())), None)


def refuse_no_sample(x: Tensor, samples: int) -> None:
    if samples == 0:
        shape = f"shape {tuple(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
        raise ValueError(f"`x` ({shape}) must hold at least one sample.")


@contextmanager
def _evaluation(net: nn.Module) -> Iterator[None]:
    modes = [(module, module.training) for module in net.modules()]
    net.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training

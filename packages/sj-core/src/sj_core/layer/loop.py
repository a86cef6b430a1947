"""Run single-step modules over the time axis, step by step."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import nn

from sj_core.base import MemoryModule, combine_tensors, map_tensors
from sj_core.layer.fold import fold_time, unfold_time

Modules = nn.Module | Sequence[Callable[..., Any]] | Callable[..., Any]


def run_modules(modules: Modules, x: Any) -> Any:
    """``modules`` on ``x``: one callable, or a list or tuple of them in order.

    A tuple ``x`` becomes the arguments of the first; an ``nn.Sequential`` is then run as the list
    of its children, for its own forward takes one argument only.

    >>> run_modules([torch.neg, torch.exp], torch.zeros(2)).tolist()
    [1.0, 1.0]
    >>> run_modules(torch.add, (torch.ones(2), torch.ones(2))).tolist()
    [2.0, 2.0]
    """
    if (
        isinstance(x, tuple)
        and isinstance(modules, nn.Sequential)
        and type(modules).forward is nn.Sequential.forward
    ):
        modules = list(modules)
    args = x if isinstance(x, tuple) else (x,)
    if isinstance(modules, (list, tuple)):
        for module in modules:
            args = (module(*args),)
        return args[0] if len(args) == 1 else args
    return modules(*args)  # type: ignore[operator]


def select_time(x_seq: Any, t: int, dim: int) -> Any:
    """Step ``t`` of a sequence, or of each one in a tuple."""
    if isinstance(x_seq, tuple):
        return tuple(x.select(dim, t) for x in x_seq)
    return x_seq.select(dim, t)


def loop_steps(x_seq: Any, modules: Modules, dim: int = 0) -> Any:
    """``y[t] = modules(x[t])`` for every step along ``dim``, which must hold at least one.

    >>> loop_steps(torch.arange(3.0), torch.square).tolist()
    [0.0, 1.0, 4.0]
    """
    time_steps = (x_seq[0] if isinstance(x_seq, tuple) else x_seq).shape[dim]
    steps = [run_modules(modules, select_time(x_seq, t, dim)) for t in range(time_steps)]
    return combine_tensors(partial(torch.stack, dim=dim), steps)


@contextmanager
def untouched(net: nn.Module) -> Iterator[None]:
    """Run ``net`` inside without consequences: memories and training flags come back after it.

    Eval mode keeps statistics and random streams where they are.
    """
    memories = [
        (module, name, getattr(module, name))
        for module in net.modules()
        if isinstance(module, MemoryModule)
        for name in module._memory_reset_values
    ]
    flags = [(module, module.training) for module in net.modules()]
    try:
        net.eval()
        with torch.no_grad():
            yield
    finally:
        for module, training in flags:
            module.training = training
        for module, name, value in memories:
            setattr(module, name, value)


def empty_output(net: nn.Module, step: Callable[[Any], Any], x_seq: Any) -> Any:
    """What ``step`` of ``net`` gives for a sequence of no steps: empty tensors of the right shape.

    One step on zeros tells the shape; the net is left as it was.
    """
    with untouched(net):
        y = step(map_tensors(lambda x: x.new_zeros(x.shape[1:]), x_seq))
    return map_tensors(lambda item: item.new_empty((0, *item.shape)), y)


def loop_children(container: nn.Sequential, x_seq: Any) -> Any:
    """``loop_steps`` over the children of ``container``; for no step, what :func:`empty_output` is.

    >>> loop_children(nn.Sequential(nn.Linear(2, 3)), torch.zeros(0, 5, 2)).shape
    torch.Size([0, 5, 3])
    """
    children = list(container)
    if (x_seq[0] if isinstance(x_seq, tuple) else x_seq).shape[0] == 0:
        return empty_output(container, lambda x: run_modules(children, x), x_seq)
    return loop_steps(x_seq, children)


def fold_modules(x_seq: Any, modules: Modules) -> Any:
    """``modules`` once on all time steps: fold, call, unfold; ``x_seq`` may be a tuple.

    >>> fold_modules((torch.ones(4, 2), torch.ones(4, 2)), torch.add).shape
    torch.Size([4, 2])
    """
    if isinstance(x_seq, tuple):
        folded: Any = tuple(fold_time(x) for x in x_seq)
        return unfold_time(run_modules(modules, folded), x_seq[0])
    return unfold_time(run_modules(modules, fold_time(x_seq)), x_seq)

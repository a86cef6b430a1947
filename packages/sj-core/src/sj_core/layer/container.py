"""Containers that give single-step modules a time axis."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any, ClassVar

import torch
from torch import fx, nn

from sj_core import base
from sj_core.layer.fold import run_folded
from sj_core.layer.loop import fold_modules, loop_children, run_modules


class SingleStepChildren(nn.Module):
    """Base of containers whose children take single steps, whatever the container takes.

    ``functional.set_step_mode`` stops at such a container. A child in step mode ``'m'`` is refused
    by the constructor (``ValueError``), and by the forward (``RuntimeError``) if its mode was
    changed by hand later. So is a child with a state where ``folds_time`` makes all time steps one
    batch.
    """

    keeps_step_mode_of_children: ClassVar[bool] = True
    folds_time: bool = False

    def _misfits(self) -> Iterator[str]:
        name = type(self).__name__
        if self.folds_time:
            yield from _states_below(self)
        for path, module in step_modules_below(self):
            if module.step_mode != "s":
                yield (
                    f"`step_mode` (={module.step_mode!r}) of `{path}` ({type(module).__name__}) "
                    f"must be 's' inside {name}, which hands single steps to its children: "
                    f"build it with `step_mode='s'`."
                )

    def _refuse_misfits(self) -> None:
        for message in self._misfits():
            raise ValueError(message)

    def _refuse_changed_children(self) -> None:
        # A compiled graph is guarded on every child's mode; walking them there gains nothing.
        if torch.compiler.is_compiling():
            return
        below = itertools.islice(self.modules(), 1, None)
        suspects = (m for m in below if isinstance(m, base.StepModule))
        if any(m.step_mode != "s" or self.folds_time for m in suspects):
            for message in self._misfits():
                raise RuntimeError(message)


def step_modules_below(
    module: nn.Module, prefix: str = ""
) -> Iterator[tuple[str, base.StepModule]]:
    """Path and module of all that have a step mode below ``module``.

    Containers that fix their children's mode are listed and not entered.
    """
    for name, child in module.named_children():
        path = f"{prefix}{name}"
        if isinstance(child, base.StepModule):
            yield path, child
        if not getattr(child, "keeps_step_mode_of_children", False):
            yield from step_modules_below(child, f"{path}.")


def _states_below(container: nn.Module) -> Iterator[str]:
    for path, module in container.named_modules():
        if isinstance(module, base.MemoryModule):
            yield (
                f"`{path}` ({type(module).__name__}) keeps a state and cannot stand in "
                f"{type(container).__name__}, where all time steps are one batch: take it out, "
                "or use `layer.MultiStepContainer`."
            )


class SingleStepSequential(SingleStepChildren, nn.Sequential):
    """A container that hands single steps down its children in order.

    Added to another module, or repeated, it stays whole: what runs the children of an
    ``nn.Sequential`` would hand them sequences.

    >>> import torch
    >>> from sj_core import layer
    >>> rectify, flatten = torch.nn.ReLU(), torch.nn.Flatten()
    >>> net = layer.MultiStepContainer(rectify) + layer.SeqToANNContainer(flatten)
    >>> [type(child).__name__ for child in net]
    ['MultiStepContainer', 'SeqToANNContainer']
    """

    def __add__(self, other: nn.Module) -> nn.Sequential:
        return nn.Sequential(self, other)

    def __radd__(self, other: nn.Module) -> nn.Sequential:
        return nn.Sequential(other, self)

    def __mul__(self, times: int) -> nn.Sequential:
        return nn.Sequential(*[self] * times)

    __rmul__ = __mul__


class MultiStepContainer(SingleStepSequential, base.MultiStepModule):
    """Runs its single-step children in order on one time step after the other.

    ``y[t] = f_n(... f_1(x[t]))`` for t = 0, 1, ...; the children may keep a state.

    Shapes: ``[T, N, *]`` in, ``[T, N, *]`` out; ``T = 0`` gives an empty output and leaves every
    state as it was. A tuple of sequences becomes the arguments of the first child.

    Raises ``ValueError`` for a child with ``step_mode='m'``.

    >>> import torch
    >>> from sj_core import layer, neuron
    >>> net = layer.MultiStepContainer(torch.nn.Identity(), neuron.IFNode())
    >>> net(torch.full((4, 1), 0.5)).flatten().tolist()
    [0.0, 1.0, 0.0, 1.0]
    """

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._refuse_misfits()

    def forward(self, x_seq: Any) -> Any:
        if isinstance(x_seq, fx.Proxy):  # how often it loops, no graph can hold
            return base.call_as_leaf(self, x_seq)
        self._refuse_changed_children()
        return loop_children(self, x_seq)


class SeqToANNContainer(SingleStepSequential, base.MultiStepModule):
    """Runs its stateless children once on all time steps, folded into the batch.

    ``y = unfold(f_n(... f_1(fold(x))))`` with ``fold`` from ``[T, N, *]`` to ``[T*N, *]``: plain
    torch layers (convolutions, batch normalisations, pools) in a net that takes sequences.

    Shapes: ``[T, N, *]`` in, ``[T, N, *]`` out. Contiguous and channels-last sequences are
    folded without a copy. A tuple of sequences becomes the arguments of the first child.

    Raises ``ValueError`` for a child with ``step_mode='m'`` and for one that keeps a state.

    >>> import torch
    >>> from sj_core import layer
    >>> net = layer.SeqToANNContainer(torch.nn.Conv2d(1, 6, 3), torch.nn.BatchNorm2d(6))
    >>> net(torch.zeros(4, 2, 1, 8, 8)).shape
    torch.Size([4, 2, 6, 6, 6])
    """

    folds_time = True

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._refuse_misfits()

    def forward(self, x_seq: Any) -> Any:
        self._refuse_changed_children()
        if isinstance(x_seq, tuple):
            return fold_modules(x_seq, list(self))
        return run_folded(super().forward, x_seq)


class StepModeContainer(SingleStepSequential, base.StepModule):
    """Gives single-step children both step modes.

    With ``step_mode='s'`` it is an ``nn.Sequential``. With ``'m'`` it does what
    :class:`MultiStepContainer` does if ``stateful``, and what :class:`SeqToANNContainer` does if
    not. The children stay in step mode ``'s'``.

    Shapes: ``[N, *]`` with ``step_mode='s'``, ``[T, N, *]`` with ``'m'``, or a tuple of such, which
    becomes the arguments of the first child.

    Raises ``ValueError`` for a child with ``step_mode='m'``, and for one that keeps a state
    unless ``stateful``.

    >>> import torch
    >>> from sj_core import layer
    >>> net = layer.StepModeContainer(False, torch.nn.Conv2d(1, 6, 3), step_mode="m")
    >>> net(torch.zeros(4, 2, 1, 8, 8)).shape
    torch.Size([4, 2, 6, 6, 6])
    """

    def __init__(self, stateful: bool, *args: Any, step_mode: str = "s") -> None:
        if args and isinstance(args[0], str):  # StepModeContainer(stateful, step_mode, *modules)
            step_mode, args = str(args[0]), args[1:]
        super().__init__(*args)
        if not isinstance(stateful, bool):
            raise TypeError(f"`stateful` (={stateful!r}) must be True or False.")
        self.stateful = stateful
        self.folds_time = not stateful
        self.step_mode = step_mode
        self._refuse_misfits()

    def __getitem__(self, idx: Any) -> Any:
        if isinstance(idx, slice):
            part = list(self.children())[idx]
            return type(self)(self.stateful, *part, step_mode=self.step_mode)
        return super().__getitem__(idx)

    def forward(self, x: Any) -> Any:
        self._refuse_changed_children()
        if self.step_mode == "m" and self.stateful:
            if isinstance(x, fx.Proxy):
                return base.call_as_leaf(self, x)
            return loop_children(self, x)
        several = isinstance(x, tuple)
        if self.step_mode == "s":
            return run_modules(list(self), x) if several else super().forward(x)
        return fold_modules(x, list(self)) if several else run_folded(super().forward, x)

    def extra_repr(self) -> str:
        return f"stateful={self.stateful}, step_mode={self.step_mode!r}"

"""Run modules over a sequence: step by step, in chunks, or with the time axis in the batch."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from sj_core._checks import as_count
from sj_core.base import combine_tensors, map_tensors
from sj_core.layer.loop import Modules, fold_modules, loop_steps, run_modules

Sequences = Tensor | tuple[Tensor, ...]


def multi_step_forward(x_seq: Sequences, single_step_module: Modules) -> Any:
    """Run a single-step module on one time step after the other.

    ``y[t] = single_step_module(x[t])``.

    ``x_seq`` is ``[T, N, *]``, or a tuple of such with the same ``[T, N]``, which become the
    arguments of the module. The module is a module, a list or tuple of modules run in order, an
    ``nn.Sequential`` or any callable. The output is ``[T, N, *]``, or a tuple of such where the
    module returns one. Errors of the module come out unchanged.

    Raises ``TypeError`` if ``x_seq`` is no tensor, ``ValueError`` if it has no time step or its
    tensors disagree in ``[T, N]``.

    >>> import torch
    >>> from sj_core import functional, neuron
    >>> x_seq = torch.full((4, 1), 0.5)
    >>> functional.multi_step_forward(x_seq, neuron.IFNode()).flatten().tolist()
    [0.0, 1.0, 0.0, 1.0]
    """
    _check_sequences(x_seq, time_dim=0)
    _check_callable("single_step_module", single_step_module)
    return loop_steps(x_seq, single_step_module)


def t_last_multi_step_forward(x_seq: Sequences, single_step_module: Modules) -> Any:
    """:func:`multi_step_forward` for sequences whose last axis is time.

    ``y[..., t] = single_step_module(x[..., t])``.

    ``x_seq`` is ``[N, *, T]``, or a tuple of such with the same ``N`` and ``T``; the output is
    ``[N, *, T]``.

    Raises ``TypeError`` if ``x_seq`` is no tensor, ``ValueError`` if it has no time step or its
    tensors disagree in ``N`` or ``T``.

    >>> import torch
    >>> from sj_core import functional, neuron
    >>> x_seq = torch.full((1, 4), 0.5)
    >>> functional.t_last_multi_step_forward(x_seq, neuron.IFNode()).tolist()
    [[0.0, 1.0, 0.0, 1.0]]
    """
    _check_sequences(x_seq, time_dim=-1)
    _check_callable("single_step_module", single_step_module)
    return loop_steps(x_seq, single_step_module, dim=-1)


def chunk_multi_step_forward(split_size: int, x_seq: Sequences, multi_step_module: Modules) -> Any:
    """Run a multi-step module on ``split_size`` time steps at a time.

    The same output as ``multi_step_module(x_seq)``, because the state is carried from chunk to
    chunk; what one call holds in memory is bounded by the chunk when no gradient is asked for.

    ``x_seq`` is ``[T, N, *]``, or a tuple of such; the output has the same ``T``. The last chunk
    may be shorter.

    Raises ``TypeError`` if ``split_size`` is no integer or ``x_seq`` no tensor, ``ValueError`` if
    ``split_size`` is less than 1, if ``x_seq`` has no time step or its tensors disagree in
    ``[T, N]``, and if the output has no time axis to put together again.

    >>> import torch
    >>> from sj_core import functional, neuron
    >>> node = neuron.IFNode(step_mode="m")
    >>> x_seq = torch.full((5, 1), 0.5)
    >>> functional.chunk_multi_step_forward(2, x_seq, node).flatten().tolist()
    [0.0, 1.0, 0.0, 1.0, 0.0]
    """
    split_size = as_count("split_size", split_size)
    _check_sequences(x_seq, time_dim=0)
    _check_callable("multi_step_module", multi_step_module)
    if isinstance(x_seq, tuple):
        chunks: Any = zip(*(x.split(split_size) for x in x_seq), strict=True)
    else:
        chunks = x_seq.split(split_size)
    outputs = []
    for chunk in chunks:
        outputs.append(run_modules(multi_step_module, chunk))
        _refuse_lost_time(outputs[-1], (chunk[0] if isinstance(chunk, tuple) else chunk).shape[0])
    return combine_tensors(torch.cat, outputs)


def seq_to_ann_forward(x_seq: Sequences, stateless_module: Modules) -> Any:
    """Run a stateless module once on all time steps, folded into the batch.

    ``y = unfold(stateless_module(fold(x_seq)))``, ``fold`` from ``[T, N, *]`` to ``[T*N, *]``;
    no copy is made of contiguous and of channels-last sequences.

    ``x_seq`` is ``[T, N, *]``, or a tuple of such with the same ``[T, N]``, which become the
    arguments of the module. The module is a module, a list or tuple of modules run in order, an
    ``nn.Sequential`` or any callable. Tuple outputs are restored. Errors of the module come out
    unchanged.

    Raises ``TypeError`` if ``x_seq`` is no tensor, ``ValueError`` if it has no time step or its
    tensors disagree in ``[T, N]``.

    >>> import torch
    >>> from sj_core import functional
    >>> block = [torch.nn.Conv2d(1, 6, 3), torch.nn.BatchNorm2d(6)]
    >>> functional.seq_to_ann_forward(torch.zeros(4, 2, 1, 8, 8), block).shape
    torch.Size([4, 2, 6, 6, 6])
    """
    _check_sequences(x_seq, time_dim=0, least_rank=2)
    _check_callable("stateless_module", stateless_module)
    return fold_modules(x_seq, stateless_module)


def t_last_seq_to_ann_forward(x_seq: Sequences, stateless_module: Modules) -> Any:
    """Run a stateless module on all time steps at once, time being the last axis.

    ``y[..., t] = stateless_module(x[..., t])`` by :func:`torch.vmap` over the last axis, so the
    module must be one that ``vmap`` takes: a batch normalisation in training is not (its running
    statistics are updated in place), random layers draw anew for each step.

    ``x_seq`` is ``[N, *, T]``, or a tuple of such with the same ``N`` and ``T``; the output is
    ``[N, *, T]``. Errors of the module come out unchanged.

    Raises ``TypeError`` if ``x_seq`` is no tensor, ``ValueError`` if it has no time step or its
    tensors disagree in ``N`` or ``T``.

    >>> import torch
    >>> from sj_core import functional
    >>> x_seq = torch.zeros(2, 1, 8, 8, 4)
    >>> functional.t_last_seq_to_ann_forward(x_seq, torch.nn.Conv2d(1, 6, 3)).shape
    torch.Size([2, 6, 6, 6, 4])
    """
    _check_sequences(x_seq, time_dim=-1)
    _check_callable("stateless_module", stateless_module)

    def step(x: Any) -> Any:
        return run_modules(stateless_module, x)

    return torch.vmap(step, in_dims=-1, out_dims=-1, randomness="different")(x_seq)


def _check_sequences(x_seq: Any, time_dim: int, least_rank: int = 1) -> None:
    tensors = x_seq if isinstance(x_seq, tuple) else (x_seq,)
    if not tensors or not all(isinstance(x, Tensor) for x in tensors):
        kinds = ", ".join(type(x).__name__ for x in tensors) or "nothing"
        raise TypeError(f"`x_seq` (of {kinds}) must be a tensor or a tuple of tensors.")
    layout = "[T, N, *]" if time_dim == 0 else "[N, *, T]"
    for x in tensors:
        if x.dim() < least_rank:
            raise ValueError(f"`x_seq` has shape {list(x.shape)} and must have {layout}.")
        if x.shape[time_dim] == 0:
            raise ValueError(
                f"`x_seq` has shape {list(x.shape)}, which is {layout} with T = 0; "
                "there must be at least one time step."
            )
    if len({_leading(x, time_dim) for x in tensors}) > 1:
        shapes = ", ".join(str(list(x.shape)) for x in tensors)
        which = "`T` and `N`" if time_dim == 0 else "`N` and `T`"
        raise ValueError(f"`x_seq` has the shapes {shapes}; all must agree in {which}.")


def _check_callable(name: str, modules: Any) -> None:
    for module in modules if isinstance(modules, (list, tuple)) else (modules,):
        if not callable(module):
            raise TypeError(
                f"`{name}` ({module!r}) must be a module, a list or tuple of modules, or callable."
            )


def _refuse_lost_time(y: Any, steps: int) -> None:
    def check(item: Tensor) -> Tensor:
        if item.dim() == 0 or item.shape[0] != steps:
            raise ValueError(
                f"`multi_step_module` gave shape {list(item.shape)} for a chunk of {steps} time "
                f"steps, and must give [{steps}, N, *]: a readout, for example, needs "
                "`decode=None`."
            )
        return item

    map_tensors(check, y)


def _leading(x: Tensor, time_dim: int) -> tuple[int, ...]:
    return tuple(x.shape[:2]) if time_dim == 0 else (*x.shape[:-1][:1], x.shape[-1])

"""Fold the time axis into the batch: the one mechanism behind every stateless layer."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor, fx, nn

from sj_core import base
from sj_core._checks import check_tensor

# Looked up once: in a network of small layers a call pays for every attribute of a module.
_is_compiling = torch.compiler.is_compiling
_is_dynamo_compiling = torch.compiler.is_dynamo_compiling
_exclude = torch._C._dispatch_tls_set_dispatch_key_excluded
_is_excluded = torch._C._dispatch_tls_is_dispatch_key_excluded
_VIEW_TRACKING = torch._C.DispatchKey.ADInplaceOrView
# Layers of torch whose backward does not read what they returned.
_RESULT_UNREAD = (
    *(nn.modules.conv._ConvNd, nn.modules.batchnorm._BatchNorm, nn.GroupNorm),
    *(nn.modules.pooling._MaxPoolNd, nn.modules.pooling._AvgPoolNd),
    *(nn.modules.pooling._AdaptiveAvgPoolNd, nn.Linear, nn.Upsample),
)

_COMPUTES = frozenset({"forward", "_conv_forward"})


def fold_time(x_seq: Tensor) -> Tensor:
    """Merge the first two axes: ``[T, N, *]`` to ``[T * N, *]``.

    A view, hence without a copy, whenever the memory allows it: contiguous sequences, and
    sequences whose images are channels-last. These stay channels-last, copied or not.

    >>> import torch
    >>> from sj_core.layer import fold_time
    >>> fold_time(torch.zeros(4, 2, 3, 8, 8)).shape
    torch.Size([8, 3, 8, 8])
    """
    if not _is_compiling():
        try:
            T, N, *shape = x_seq.shape
            return x_seq.view(T * N, *shape)  # the cheapest by far
        except (RuntimeError, ValueError):  # it needs a copy, or has no two axes
            pass
    if (
        x_seq.dim() > 4
        and x_seq.stride(2) == 1
        and x_seq.stride(0) != x_seq.size(1) * x_seq.stride(1)
        and x_seq.stride(-1) == x_seq.size(2)
        and x_seq.size(0) > 1 < x_seq.size(1)
    ):
        # Channels-last images in an order that needs a copy, such as [N, T, C, H, W] transposed:
        # copied with the channels last, where a plain flatten would put them first.
        return x_seq.movedim(2, -1).flatten(0, 1).movedim(-1, 1)
    return x_seq.flatten(0, 1)


def unfold_time(y: Any, x_seq: Tensor) -> Any:
    """Give ``y`` of shape ``[T * N, *]`` the first two axes of ``x_seq``: a view ``[T, N, *]``.

    Of a tuple, list or dict each tensor is unfolded; its class stays.

    >>> import torch
    >>> from sj_core.layer import unfold_time
    >>> unfold_time(torch.zeros(8, 5), torch.zeros(4, 2, 3)).shape
    torch.Size([4, 2, 5])
    """
    if isinstance(y, (tuple, list, dict)):
        return base.map_tensors(lambda item: unfold_time(item, x_seq), y)
    return torch.unflatten(y, 0, x_seq.shape[:2])


# A traced graph holds these two as single nodes: their shape arithmetic is no business of its.
fx.wrap("fold_time")
fx.wrap("unfold_time")


def run_folded(step: Callable[..., Any], x_seq: Tensor, *args: Any, **kwargs: Any) -> Any:
    """``step`` once on all time steps of ``x_seq``: fold, call, unfold.

    >>> import torch
    >>> from sj_core.layer import run_folded
    >>> run_folded(torch.nn.functional.avg_pool2d, torch.zeros(4, 2, 3, 8, 8), 2).shape
    torch.Size([4, 2, 3, 4, 4])
    """
    return unfold_time(step(fold_time(x_seq), *args, **kwargs), x_seq)


class FoldTime(base.StepModule):
    """Mixin that gives a torch layer a step mode: ``class Conv2d(FoldTime, nn.Conv2d)``.

    With ``step_mode='s'`` the layer is torch's, on one step ``[N, *]``. With ``'m'`` it takes a
    sequence ``[T, N, *]``, folds ``T`` into ``N``, calls torch once and unfolds the result.
    The constructor is torch's with one more keyword argument, ``step_mode``.

    ``step_shapes`` names the shapes that one step may have. Those that start with ``N`` are
    batched; only they have a sequence form. A ``*`` stands for any number of axes.

    A layer reached by ``torch.fx`` tracing is one ``call_module`` node, as torch's own are.

    Raises ``ValueError`` for an input of another rank, with the shape it got and those it takes,
    ``TypeError`` for one that is no tensor.

    >>> import torch
    >>> from sj_core.layer import FoldTime
    >>> class Softmax2d(FoldTime, torch.nn.Softmax2d):
    ...     step_shapes = ("N, C, H, W",)
    >>> Softmax2d(step_mode="m")(torch.zeros(4, 2, 5, 8, 8)).shape
    torch.Size([4, 2, 5, 8, 8])
    """

    step_shapes: ClassVar[tuple[str, ...]] = ("N, *",)
    # Layers that act on the last axes only need no folding: torch takes any leading axes.
    _acts_on_last_axes: ClassVar[bool] = False
    _result_unread: ClassVar[bool] = False
    # Layers with statistics: a sequence without a step must not change them.
    _leaves_empty: ClassVar[bool] = False
    # Tuples: what torch.export of every supported torch reads from a class.
    _ranks_of_a_step: ClassVar[tuple[int, ...]]
    _ranks_of_a_sequence: ClassVar[tuple[int, ...]]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._ranks_of_a_step = _accepted_ranks(cls.step_shapes, "s")
        cls._ranks_of_a_sequence = _accepted_ranks(cls.step_shapes, "m")
        cls._result_unread = issubclass(cls, _RESULT_UNREAD) and _is_computed_by_torch(cls)
        if issubclass(cls, nn.Module):
            cls.__signature__ = _signature(cls)  # type: ignore[attr-defined]

    def __init__(self, *args: Any, step_mode: str = "s", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.step_mode = step_mode

    def forward(self, input: Any, *args: Any, **kwargs: Any) -> Any:
        if not isinstance(input, Tensor):
            if isinstance(input, fx.Proxy):
                return base.call_as_leaf(self, input, *args, **kwargs)  # type: ignore[arg-type]
            check_tensor("input", input)
        one_step = self._step_mode == "s"
        ranks = self._ranks_of_a_step if one_step else self._ranks_of_a_sequence
        if input.dim() not in ranks:
            raise ValueError(self._rank_message(input))
        if one_step or self._acts_on_last_axes:
            return super().forward(input, *args, **kwargs)  # type: ignore[misc]
        return self.sequence_forward(input, *args, **kwargs)

    def sequence_forward(self, x_seq: Tensor, *args: Any, **kwargs: Any) -> Any:
        """Fold, call torch's layer once, unfold."""
        # Plain numbers: the slices and sums of a `torch.Size` cost more than the views.
        T, N, *shape = x_seq.shape
        if self._leaves_empty and T == 0:
            return x_seq.clone()
        # What traces otherwise than dynamo does so with tensors of a class of its own.
        if x_seq.__class__ is not Tensor or _is_dynamo_compiling():
            y = super().forward(fold_time(x_seq), *args, **kwargs)  # type: ignore[misc]
            return unfold_time(y, x_seq)
        try:
            x = x_seq.view(T * N, *shape)
        except RuntimeError:  # it needs a copy
            x = fold_time(x_seq)
        y = super().forward(x, *args, **kwargs)  # type: ignore[misc]
        if y.__class__ is not Tensor:
            return unfold_time(y, x_seq)
        _, *shape = y.shape
        if not self._result_unread or not y.requires_grad or y._is_view():
            return y.view(T, N, *shape)
        # Nobody else holds this tensor, so its new shape need not be tracked as a view: a residual
        # `y += x` would pay for that, and FSDP2 would warn of it. Where a backward reads it, as
        # softmax's does, it must be: torch then tells that it was changed.
        before = _is_excluded(_VIEW_TRACKING)
        _exclude(_VIEW_TRACKING, True)
        try:
            return y.view(T, N, *shape)
        finally:
            _exclude(_VIEW_TRACKING, before)

    def extra_repr(self) -> str:
        own = super().extra_repr()  # type: ignore[misc]
        return f"{own}, step_mode={self.step_mode!r}" if own else f"step_mode={self.step_mode!r}"

    def _rank_message(self, x: Tensor) -> str:
        prefix = "T, " if self.step_mode == "m" else ""
        expected = " or ".join(
            f"[{prefix}{s}]" for s in self.step_shapes if not prefix or s.startswith("N")
        )
        return (
            f"`input` has shape {list(x.shape)} but {type(self).__name__} with "
            f"step_mode={self.step_mode!r} takes {expected}: give it that shape or change the "
            f"step mode with `functional.set_step_mode`."
        )


def _is_computed_by_torch(cls: type) -> bool:
    """Whether what `sequence_forward` calls is torch's: another's may end in what reads it."""
    for base_class in cls.__mro__:
        computes = {"_conv_forward"} if issubclass(base_class, FoldTime) else _COMPUTES
        own = not base_class.__module__.startswith("torch.nn.modules.")
        if own and not computes.isdisjoint(base_class.__dict__):
            return False
    return True


def _accepted_ranks(step_shapes: tuple[str, ...], step_mode: str) -> tuple[int, ...]:
    ranks: set[int] = set()
    for shape in step_shapes:
        if step_mode == "m" and not shape.startswith("N"):
            continue
        axes = shape.split(", ")
        rank = len(axes) + (step_mode == "m")
        ranks |= set(range(rank - 1, 65)) if "*" in axes else {rank}  # torch's limit is 64 axes
    return tuple(sorted(ranks))


def _signature(cls: type) -> inspect.Signature:
    """Signature for ``help`` and editors: torch's constructor with ``step_mode`` added."""
    owner = next(c for c in cls.__mro__ if "__init__" in c.__dict__ and c is not FoldTime)
    parameters = list(inspect.signature(owner.__dict__["__init__"]).parameters.values())[1:]
    if issubclass(owner, FoldTime):
        return inspect.Signature(parameters)
    position = len(parameters)
    if parameters and parameters[-1].kind is inspect.Parameter.VAR_KEYWORD:
        position -= 1
    kind = inspect.Parameter.KEYWORD_ONLY
    parameters.insert(position, inspect.Parameter("step_mode", kind, default="s", annotation=str))
    return inspect.Signature(parameters)

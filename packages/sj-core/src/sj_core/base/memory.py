"""Memories: what every module with a state is built on."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import torch
from torch import Tensor, fx, nn

from sj_core._checks import check_tensor
from sj_core.base.recompute import guard_own_forward, guarded, is_left, mark_left
from sj_core.base.step_mode import StepModule
from sj_core.base.tensor import copyable, detached, of_any_rank, out_of_inference, state_dtype
from sj_core.base.tree import combine_tensors, equal_without_tensors, map_tensors

_is_compiling = torch.compiler.is_compiling


def call_as_leaf(module: nn.Module, x: fx.Proxy, *args: Any, **kwargs: Any) -> fx.Proxy:
    """The call of ``module`` as one node of the graph that ``torch.fx`` is tracing.

    What a module with a state or a step mode does depends on both, which no graph can hold.
    """
    tracer: Any = x.tracer
    node: fx.Proxy = tracer.create_proxy(
        "call_module", tracer.path_of_module(module), (x, *args), kwargs
    )
    return node


class MemoryModule(nn.Module, StepModule):
    """A module with a state: named memories, each with the value a reset puts back.

    A memory is a plain attribute. It is in no ``state_dict``, moves with ``.to()``, and a copy or
    pickle holds its detached value. Before the first forward it is its reset value (a float); the
    first forward makes it a tensor of the input's shape in :func:`state_dtype`.

    Subclasses write ``single_step_forward(x)`` with ``x`` of shape ``(N, *)``;
    ``multi_step_forward(x_seq)`` with ``(T, N, *)`` loops over it unless overridden.

    >>> import torch
    >>> from sj_core.base import MemoryModule
    >>> class Counter(MemoryModule):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.register_memory("count", 0.0)
    ...
    ...     def single_step_forward(self, x):
    ...         self.count = self.memory_like("count", x) + x
    ...         return self.count
    >>> counter = Counter()
    >>> counter.step_mode = "m"
    >>> counter(torch.ones(3, 1)).flatten().tolist()
    [1.0, 2.0, 3.0]
    >>> counter.reset()
    >>> counter.count
    0.0
    """

    #: Tells dynamo that a forward sets attributes: torch 2.6 refuses to export that otherwise.
    torchdynamo_force_dynamic = True
    #: Whether an input that is no tensor is refused, by name.
    takes_tensors_only: ClassVar[bool] = False
    #: Whether `forward` sees to it that no backward computes it again from a state that moved on.
    guards_recompute: ClassVar[bool] = True
    _left: Any = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.guards_recompute:
            guard_own_forward(cls)

    def __init__(self, step_mode: str = "s") -> None:
        super().__init__()
        self._memory_reset_values: dict[str, Any] = {}
        self.step_mode = step_mode

    def register_memory(self, name: str, reset_value: Any) -> None:
        """Add the memory ``name`` and set it to ``reset_value``, which ``reset()`` puts back."""
        if "_memory_reset_values" not in self.__dict__:
            raise RuntimeError(
                f"{type(self).__name__} must call `super().__init__()` before `register_memory`."
            )
        if not isinstance(name, str) or not name.isidentifier():
            raise ValueError(f"`name` (={name!r}) of a memory must be a Python identifier.")
        if isinstance(reset_value, (nn.Parameter, nn.Module)):
            raise TypeError(
                f"`reset_value` (a {type(reset_value).__name__}) of `{name}` must not learn, for a "
                "memory changes with every step: keep it under a name of its own, and let "
                "`memory_like` start from it."
            )
        if name not in self._memory_reset_values and hasattr(self, name):
            raise ValueError(
                f"`name` (={name!r}) is already an attribute of {type(self).__name__}: "
                "choose another name for the memory."
            )
        self._memory_reset_values[name] = copy.deepcopy(reset_value)
        setattr(self, name, copy.deepcopy(reset_value))

    def move_reset_value(self, name: str, old: float, new: float) -> None:
        """Let ``reset()`` put the memory ``name`` to ``new`` where it has put it to ``old``.

        A memory that is at ``old`` moves with it: a fresh module starts from its settings as they
        are now. One that a subclass resets to another value stays as it is.
        """
        if not equal_without_tensors(self._memory_reset_values.get(name), old):
            return
        if equal_without_tensors(getattr(self, name), old):
            setattr(self, name, new)
        self._memory_reset_values[name] = new

    def named_memories(self, prefix: str = "", recurse: bool = True) -> Iterator[tuple[str, Any]]:
        """Yield dotted name and value of each memory here and, with ``recurse``, in submodules."""
        modules = self.named_modules(prefix=prefix) if recurse else [(prefix, self)]
        for path, module in modules:
            if isinstance(module, MemoryModule):
                for name in module._memory_reset_values:
                    yield (f"{path}.{name}" if path else name), getattr(module, name)

    def memory_like(self, name: str, x: Tensor) -> Tensor:
        """The memory ``name`` as a tensor of ``x``'s shape in ``state_dtype(x)``.

        A memory still at a number is materialised (not stored). One of another shape or device
        raises ``RuntimeError``: the state of an earlier sequence was not reset.
        """
        value = getattr(self, name)
        dtype = state_dtype(x)
        if not isinstance(value, Tensor):
            return torch.full_like(x, value, dtype=dtype, requires_grad=False)
        self.check_memory(name, value, x.shape, x.device)
        return out_of_inference(value) if value.dtype == dtype else value.to(dtype)

    def check_memory(
        self, name: str, value: Tensor, shape: torch.Size, device: torch.device, step: Any = None
    ) -> None:
        """Raise ``RuntimeError`` if the kept tensor is not of this shape and device.

        ``step``: the shape of an ``x`` whose memory has another.
        """
        if value.shape != shape:
            raise RuntimeError(
                f"`x` of one step has shape {tuple(step or shape)}, but the state `{name}` that "
                f"{type(self).__name__} keeps from earlier steps has shape {tuple(value.shape)}: "
                "call `functional.reset_net(net)` between sequences."
            )
        if value.device != device:
            raise RuntimeError(
                f"`x` is on {device}, but the state `{name}` that {type(self).__name__} keeps "
                f"from earlier steps is on {value.device}: move the net with `net.to(...)`, or "
                "call `functional.reset_net(net)` between sequences."
            )

    def holds_state(self, name: str) -> bool:
        """Whether the memory ``name`` holds another value than its reset value."""
        return not equal_without_tensors(getattr(self, name), self._memory_reset_values[name])

    def reset(self) -> None:
        """Put every memory of this module back to its reset value."""
        for name, value in self._memory_reset_values.items():
            # A memory is never a parameter or module, whose search torch's own setter pays for.
            fresh = value if isinstance(value, (int, float)) else copy.deepcopy(value)
            object.__setattr__(self, name, fresh)
        object.__setattr__(self, "_left", None)  # with its graph

    def detach(self) -> None:
        """Cut every memory of this module from the autograd graph."""
        left = not _is_compiling() and is_left(self)
        for name in self._memory_reset_values:
            setattr(self, name, map_tensors(detached, getattr(self, name)))
        self._mark_again(left)

    def _mark_again(self, left: bool) -> None:
        # Cut or moved, a state is still what the last forward left, or is not.
        self._left = None
        if left:
            mark_left(self)

    def forward(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        one_step = self._step_mode == "s"
        if not isinstance(x, Tensor):
            if isinstance(x, fx.Proxy):
                return call_as_leaf(self, x, *args, **kwargs)
            if self.takes_tensors_only:
                check_tensor("x", x)
        elif not one_step and x.dim() == 0:
            raise ValueError(
                f"`x` has shape [] but {type(self).__name__} with step_mode='m' takes [T, N, *]."
            )
        step = self.single_step_forward if one_step else self.multi_step_forward
        if self.guards_recompute and not _is_compiling():
            return guarded(step, self, x, *args, **kwargs)
        # Unpacking nothing costs 0.15 us, where all of a single step costs 12.
        return step(x, *args, **kwargs) if args or kwargs else step(x)

    def single_step_forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} must define `single_step_forward(x)`.")

    def multi_step_forward(self, x_seq: Tensor, *args: Any, **kwargs: Any) -> Any:
        if x_seq.shape[0] == 0:
            return self._empty_sequence(x_seq, *args, **kwargs)
        steps = [self.single_step_forward(x, *args, **kwargs) for x in x_seq.unbind(0)]
        return combine_tensors(torch.stack, steps)

    def _empty_sequence(self, x_seq: Tensor, *args: Any, **kwargs: Any) -> Any:
        # One step on zeros, undone afterwards, tells the shape and dtype of an output.
        kept = {name: getattr(self, name) for name in self._memory_reset_values}
        try:
            with torch.no_grad():
                y = self.single_step_forward(x_seq.new_zeros(x_seq.shape[1:]), *args, **kwargs)
        finally:
            for name, value in kept.items():
                setattr(self, name, value)
        return map_tensors(lambda item: item.new_empty((0, *item.shape)), y)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        super()._apply(fn, recurse)
        fn = of_any_rank(fn)
        left = not _is_compiling() and is_left(self)
        for name, value in self._memory_reset_values.items():
            self._memory_reset_values[name] = map_tensors(fn, value)
            setattr(self, name, map_tensors(fn, getattr(self, name)))
        self._mark_again(left)
        return self

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        # A learnable number, of shape (1,) here, may have been saved without axes elsewhere.
        for name, parameter in self._parameters.items():
            saved = state_dict.get(prefix + name)
            if parameter is not None and parameter.shape == (1,) and isinstance(saved, Tensor):
                state_dict[prefix + name] = saved.reshape(1) if saved.dim() == 0 else saved
        super()._load_from_state_dict(state_dict, prefix, *args)

    def __getstate__(self) -> dict[str, Any]:
        # Tensors with a graph can be neither deep-copied nor pickled.
        state = {
            key: value if self._is_of_torch(key) else map_tensors(copyable, value)
            for key, value in self.__dict__.items()
        }
        # A shallow copy has its own reset values too.
        state["_memory_reset_values"] = dict(self._memory_reset_values)
        for mark in ("_left", "_recomputed_in"):  # of this module's own tensors
            state.pop(mark, None)
        return state

    def _is_of_torch(self, key: str) -> bool:
        return key.startswith("_") and key not in self._memory_reset_values

    def extra_repr(self) -> str:
        return f"step_mode={self.step_mode!r}"

"""Run a neuron in the kernels of sj-kernels, where `backend` has chosen them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from sj_core.backend import functorch_level, load_kernels, resolve
from sj_core.base import backward_at_work, guarded, refuse_recompute

if TYPE_CHECKING:
    from sj_core.neuron.base import BaseNode

_is_compiling = torch.compiler.is_compiling


class _Cached:
    """The plan of a node (None: torch runs it), with the settings that it was made for."""

    __slots__ = (
        "device",
        "dtype",
        "multi_step",
        "on_cpu",
        "plan",
        "read",
        "read_surrogate",
        "surrogate",
        "surrogate_values",
        "two_states",
        "values",
    )

    def __init__(
        self, node: BaseNode, x: Tensor, multi_step: bool, surrogate: Any, plan: Any
    ) -> None:
        self.plan, self.surrogate = plan, surrogate
        self.multi_step, self.dtype = multi_step, x.dtype
        self.on_cpu, self.device = x.is_cpu, x.device  # the device is dear to ask for
        self.two_states = len(node.native_memories) == 2
        left_out = {"training", "_step_mode", "v_seq", "_left", "_recomputed_in"}
        left_out.update(node._memory_reset_values)
        self.read = _reader(node.__dict__, left_out)
        self.read_surrogate = _reader(surrogate.__dict__, {"training"})
        self.values = self.read(node.__dict__)
        self.surrogate_values = self.read_surrogate(surrogate.__dict__)


def _reader(settings: dict[str, Any], left_out: set[str]) -> Callable[[dict[str, Any]], Any]:
    """Read the numbers, flags and words among the attributes of a module, as they are later."""
    plain = (int, float, str, type(None))
    names = [
        name
        for name, value in settings.items()
        if isinstance(value, plain) and name not in left_out
    ]
    return itemgetter(*names) if names else lambda settings: None


def choose_again(nodes: Iterable[nn.Module]) -> None:
    """Let `nodes` choose what runs them afresh: hooks on a surrogate, which no setting shows.

    Example:
        >>> from sj_core import _native, neuron
        >>> _native.choose_again([neuron.IFNode()])
    """
    for node in nodes:
        node.__dict__.pop("_plan", None)


def try_native(node: BaseNode, x: Tensor, multi_step: bool) -> Tensor | None:
    """Run `node` on `x` in the kernels and move its memories on; None if torch is to run it.

    Example:
        >>> import torch
        >>> from sj_core import _native, neuron
        >>> _native.try_native(neuron.IFNode(backend="torch"), torch.zeros(2), False) is None
        True
    """
    d = node.__dict__
    if d["_backend"] == "torch":
        return None
    if _is_compiling():
        return run_native(node, x, multi_step) if resolve(node, x) == "native" else None
    if (
        d.get("v_threshold").__class__ is not float
        or functorch_level() is not None  # this and the next: `backend.transformed`
        or forward_ad._current_level >= 0
    ):
        if resolve(node, x) == "native":
            return guarded(run_native, node, node, x, multi_step)  # type: ignore[no-any-return]
        return None
    # A single step costs little more than this function: every setting that a plan may depend on
    # is compared with the one it was made for, nothing is built.
    surrogate = node._modules["surrogate_function"]
    cached: Any = d.get("_plan")
    try:
        stale = (
            cached is None
            or cached.multi_step is not multi_step
            or cached.dtype is not x.dtype
            or cached.on_cpu is not x.is_cpu
            or (not cached.on_cpu and cached.device != x.device)
            or cached.surrogate is not surrogate
            or cached.read(d) != cached.values
            or cached.read_surrogate(surrogate.__dict__) != cached.surrogate_values
        )
    except (KeyError, RuntimeError):  # a number has become a parameter, or a tensor
        stale = True
    if stale:
        plan = _plan(node, x, multi_step) if resolve(node, x) == "native" else None
        cached = d["_plan"] = _Cached(node, x, multi_step, surrogate, plan)
    plan = cached.plan
    if plan is None:
        return None
    task = backward_at_work()
    if task != -1:
        refuse_recompute(node, task)
    try:
        w = d["w"] if cached.two_states else None
        decay = node.native_decay(x) if plan.learnable else None
        spike, v, w, v_seq = plan.eager(x, d["v"], w, decay)
    except (KeyError, TypeError, ValueError, RuntimeError):
        # A state that does not fit, is of another dtype or of inference mode: told, or converted,
        # there.
        return guarded(run_native, node, node, x, multi_step)  # type: ignore[no-any-return]
    d["v"] = v
    d["_left"] = v
    if w is not None:
        d["w"] = w
    if v_seq is not None:
        d["v_seq"] = v_seq
    return spike  # type: ignore[no-any-return]


def _plan(node: BaseNode, x: Tensor, multi_step: bool) -> Any:
    """The kernels' object for the settings of `node`, checked."""
    surrogate: Any = node.surrogate_function
    step_shape = x.shape[1:] if multi_step else x.shape
    return load_kernels().ops.plan(
        neuron=node.native_name,
        params=node.native_params(),
        v_threshold=node.native_threshold(x, step_shape),
        v_reset=node.v_reset,
        surrogate=type(surrogate).__name__,
        surrogate_params=surrogate.params(),
        detach_reset=node.detach_reset,
        multi_step=multi_step,
        store_v_seq=node.store_v_seq and multi_step,
        output_scale=node.native_output_scale(x, step_shape),
    )


def run_native(node: BaseNode, x: Tensor, multi_step: bool) -> Tensor:
    """Return the spikes of `node` on `x` by one kernel call; its memories are moved on.

    Errors: RuntimeError if the input does not fit the kept state; those of `sj_kernels.ops.neuron`.
    """
    first = x[0] if multi_step else x
    states: list[Any] = [None, None]
    for index, name in enumerate(node.native_memories):
        state = getattr(node, name)
        if isinstance(state, Tensor):
            state = node.memory_like(name, first)
        states[index] = state
    spike, v, w, v_seq = _plan(node, x, multi_step)(x, *states, node.native_decay(x))
    for index, name in enumerate(node.native_memories):
        setattr(node, name, w if index else v)
    if v_seq is not None:
        node.v_seq = v_seq
    return spike  # type: ignore[no-any-return]

"""Which code runs a neuron: pure PyTorch or the kernels of sj-kernels. All choosing is here.

This is the only file that imports ``sj_kernels``, and only once a node needs it.
"""

from __future__ import annotations

import importlib
import warnings
from types import ModuleType
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from sj_core.base import state_dtype

if TYPE_CHECKING:
    from sj_core.neuron.base import BaseNode

BACKENDS = ("torch", "native", "auto")

_INSTALL = "run `pip install sj-kernels`, or set `backend='torch'`"
_loaded: ModuleType | None = None
_failure: Exception | None = None


def load_kernels() -> ModuleType:
    """The module ``sj_kernels``; ``ImportError`` with the cure where it is missing or broken."""
    global _loaded, _failure
    if _loaded is None and _failure is None:
        try:
            _loaded = importlib.import_module("sj_kernels")
        except Exception as error:
            _failure = error
            if not isinstance(error, ModuleNotFoundError):
                # Installed but unusable: say so once, or 'auto' is slow for no visible reason.
                warnings.warn(f"sj-kernels cannot be imported: {error}", stacklevel=2)
    if _loaded is None:
        raise ImportError(f"The native backend needs sj-kernels: {_INSTALL}.") from _failure
    return _loaded


def kernels() -> ModuleType | None:
    """The module ``sj_kernels``, or None where it cannot be imported."""
    if _loaded is None:
        if _failure is not None:
            return None
        try:
            return load_kernels()
        except ImportError:
            return None
    return _loaded


def check_backend(node: BaseNode, backend: str) -> None:
    """Raise if ``backend`` is no backend, or is 'native' and can never serve ``node``."""
    name = type(node).__name__
    if backend not in BACKENDS:
        raise ValueError(f"`backend` (={backend!r}) of {name} must be 'torch', 'native' or 'auto'.")
    if backend == "native":
        load_kernels()
        obstacle = _node_obstacle(node)
        if obstacle is not None:
            raise ValueError(
                f"`backend` (='native') cannot run {name}: {obstacle}; "
                "set `backend='auto'` or `backend='torch'`."
            )
    elif backend == "auto":
        # Imported here and not at the first forward, which may already be under torch.compile.
        kernels()


def resolve(node: BaseNode, x: Tensor) -> str:
    """'torch' or 'native': what runs ``node`` on an input like ``x``."""
    if node.backend == "torch":
        return "torch"
    if node.backend == "native":
        load_kernels()
        obstacle = _node_obstacle(node) or _input_obstacle(x)
        if obstacle is not None:
            raise RuntimeError(
                f"`backend` (='native') cannot run {type(node).__name__}: {obstacle}; "
                "set `backend='auto'` or `backend='torch'`."
            )
        return "native"
    if kernels() is None or _node_obstacle(node) is not None or _input_obstacle(x) is not None:
        return "torch"
    if not torch.compiler.is_compiling() and torch._C._functorch.maybe_current_level() is not None:
        return "torch"
    return "native"


def _node_obstacle(node: BaseNode) -> str | None:
    """Why the kernels cannot run this node as it is set, or None."""
    module = kernels()
    assert module is not None
    table = module.combinations()
    cls = type(node)
    owner = native_owner(cls)
    if owner is None or owner.native_name not in table["neuron"]:
        return f"sj-kernels has no kernel for the dynamics of {cls.__name__}"
    surrogate = node.surrogate_function
    surrogate_name = type(surrogate).__name__
    if (
        type(surrogate).__module__ != "sj_core.surrogate"
        or surrogate_name not in table["surrogate"]
    ):
        return f"sj-kernels has no surrogate {surrogate_name}"
    if not surrogate.spiking:
        return "`surrogate_function.spiking` is False, and the kernels only spike"
    threshold = getattr(node, "v_threshold", None)  # not there yet while a node is being made
    if isinstance(threshold, Tensor) and threshold.dim() > 1:
        shape = list(threshold.shape)
        return f"`v_threshold` has shape {shape}, and the kernels take a number or `[C]`"
    return None


def _input_obstacle(x: Tensor) -> str | None:
    table = load_kernels().combinations()
    dtype = str(x.dtype).removeprefix("torch.")
    if dtype not in table["dtype"]:
        return f"`x` has dtype {x.dtype}, which sj-kernels does not compute in"
    if x.device.type not in table["device"]:
        return f"`x` is on {x.device}, for which this sj-kernels was not built"
    return None


def native_owner(cls: type) -> type | None:
    """The class whose ``native_name`` describes ``cls``, unless a subclass changed the dynamics."""
    dynamics = ("neuronal_charge", "neuronal_fire", "neuronal_reset", "_step")
    for base in cls.__mro__:
        if base.__dict__.get("native_name") is not None:
            return base
        if any(name in base.__dict__ for name in dynamics):
            return None
    return None


def run_native(node: BaseNode, x: Tensor, multi_step: bool) -> Tensor:
    """The spikes of ``node`` on ``x`` by one kernel call; the node's memories are moved on."""
    module = load_kernels()
    step_shape = x.shape[1:] if multi_step else x.shape
    states: list[Any] = [None, None]
    for index, name in enumerate(node.native_memories):
        state = getattr(node, name)
        if isinstance(state, Tensor):
            node.check_memory(name, state, step_shape, x.device)
            dtype = state_dtype(x)
            state = state if state.dtype == dtype else state.to(dtype)
        states[index] = state
    surrogate = node.surrogate_function
    spike, v, w, v_seq = module.ops.neuron(
        x,
        states[0],
        states[1],
        neuron=node.native_name,
        params=node.native_params(),
        v_threshold=node.native_threshold(x, step_shape),
        v_reset=node.v_reset,
        surrogate=type(surrogate).__name__,
        surrogate_params=surrogate.params(),
        detach_reset=node.detach_reset,
        multi_step=multi_step,
        decay=node.native_decay(x),
        store_v_seq=node.store_v_seq and multi_step,
        output_scale=node.native_output_scale(x, step_shape),
    )
    for name, value in zip(node.native_memories, (v, w), strict=False):
        setattr(node, name, value)
    if node.store_v_seq:
        node.v_seq = v_seq
    return spike

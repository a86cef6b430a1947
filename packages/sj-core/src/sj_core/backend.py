"""Which code runs a neuron: pure PyTorch or the kernels of sj-kernels. All choosing is here.

This is the only file that imports `sj_kernels`: when a node first asks for it, never at
`import sj_core`. How a node is run there once that is chosen stands in `_native`.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

if TYPE_CHECKING:
    from sj_core.neuron.spiking import SpikingNode

BACKENDS = ("torch", "native", "auto")

_INSTALL = "run `pip install sj-kernels`, or set `backend='torch'`"
# What makes the dynamics of a neuron: a subclass that has its own is run as it is written.
_DYNAMICS = (
    *("neuronal_charge", "neuronal_fire", "neuronal_reset", "threshold", "leak"),
    *("memory_like", "_materialise", "_step"),
)
# So is one that computes a setting: the kernels' plan holds the value of one moment.
_SETTINGS = (
    *("tau", "decay_input", "rest", "v_rest", "v_reset", "detach_reset", "v_c", "a0", "delta_T"),
    *("theta_rh", "tau_w", "a", "b", "w_rest"),
)

_loaded: ModuleType | None = None
_failure: Exception | None = None
# What is compiled in: read once, because torch.compile cannot trace into an extension.
_table: dict[str, frozenset[str]] = {}
functorch_level = torch._C._functorch.maybe_current_level


def load_kernels() -> ModuleType:
    """Return the module `sj_kernels`; ImportError with the cure where it is missing or broken.

    Example:
        >>> from sj_core import backend
        >>> backend.kernels() is None or backend.load_kernels() is backend.kernels()
        True
    """
    global _loaded, _failure
    if _loaded is None and _failure is None:
        try:
            module = importlib.import_module("sj_kernels")
            _table.update(module.combinations())
            _loaded = module
        except Exception as error:
            _failure = error
            if not isinstance(error, ModuleNotFoundError):
                # Installed but unusable: say so once, or 'auto' is slow for no visible reason.
                warnings.warn(f"sj-kernels cannot be imported: {error}", stacklevel=2)
    if _loaded is None:
        raise ImportError(f"The native backend needs sj-kernels: {_INSTALL}.") from _failure
    return _loaded


def kernels() -> ModuleType | None:
    """Return the module `sj_kernels`, or None where it cannot be imported.

    Example:
        >>> from sj_core import backend
        >>> backend.kernels() is None or hasattr(backend.kernels(), "combinations")
        True
    """
    if _loaded is None:
        if _failure is not None:
            return None
        try:
            return load_kernels()
        except ImportError:
            return None
    return _loaded


def check_backend(node: SpikingNode, backend: str) -> None:
    """Raise if `backend` is no backend, or is 'native' and can never serve `node`.

    Errors: ValueError that says what is missing and the setting that cures it; ImportError, with
    the original one chained, where sj-kernels is missing.

    Example:
        >>> from sj_core import backend, neuron
        >>> backend.check_backend(neuron.IFNode(), "auto")
    """
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


def resolve(node: SpikingNode, x: Tensor) -> str:
    """Return 'torch' or 'native': what runs `node` on an input like `x`.

    Errors: RuntimeError where 'native' was asked for by name and cannot run it.

    Example:
        >>> import torch
        >>> from sj_core import backend, neuron
        >>> backend.resolve(neuron.IFNode(backend="torch"), torch.zeros(2))
        'torch'
    """
    if node.backend == "torch":
        return "torch"
    if node.backend == "native":
        load_kernels()
        obstacle = _node_obstacle(node) or _input_obstacle(node, x)
        if obstacle is not None:
            raise RuntimeError(
                f"`backend` (='native') cannot run {type(node).__name__}: {obstacle}; "
                "set `backend='auto'` or `backend='torch'`."
            )
        return "native"
    if kernels() is None or _node_obstacle(node) is not None:
        return "torch"
    if _input_obstacle(node, x) is not None:
        return "torch"
    if not torch.compiler.is_compiling() and transformed():
        return "torch"
    return "native"


def transformed() -> bool:
    """Whether a transform of torch.func, or forward mode, is at work.

    They transform what they see in Python, and so pass through torch's operations only.

    Example:
        >>> from sj_core import backend
        >>> backend.transformed()
        False
    """
    return functorch_level() is not None or forward_ad._current_level >= 0


def _node_obstacle(node: SpikingNode) -> str | None:
    """Why the kernels cannot run this node as it is set, or None."""
    cls = type(node)
    owner = native_owner(cls)
    replaced = _has_any(node.__dict__, _DYNAMICS)  # a method, on this one node
    if owner is None or replaced or owner.native_name not in _table["neuron"]:
        return f"sj-kernels has no kernel for the dynamics of {cls.__name__}"
    surrogate = node.surrogate_function
    name = type(surrogate).__name__
    own = type(surrogate).__module__.startswith("sj_core.surrogate")
    if not own or name not in _table["surrogate"]:
        return f"sj-kernels has no surrogate {name}"
    if not surrogate.spiking:
        return "`surrogate_function.spiking` is False, and the kernels only spike"
    hooks = (surrogate._forward_hooks, surrogate._forward_pre_hooks, surrogate._backward_hooks)
    if any(len(kind) for kind in hooks):
        return "`surrogate_function` has hooks, and the kernels call none"
    return None


def _input_obstacle(node: Any, x: Tensor) -> str | None:
    """Why the kernels cannot run this node on this input, or None."""
    dtype = str(x.dtype).removeprefix("torch.")
    if dtype not in _table["dtype"]:
        return f"`x` has dtype {x.dtype}, which sj-kernels does not compute in"
    if x.device.type not in _table["device"]:
        return f"`x` is on {x.device}, for which this sj-kernels was not built"
    if any(isinstance(value, Tensor) for value in (node.v_reset, *node.native_params())):
        return "one of its settings is a tensor, and the kernels take numbers"
    threshold = node.v_threshold
    if isinstance(threshold, Tensor) and threshold.numel() != 1:
        channels = x.shape[2 if node.step_mode == "m" else 1 :][:1]
        if threshold.shape != channels:
            return (
                f"`v_threshold` has shape {tuple(threshold.shape)}, and the kernels take a number "
                "or one value per channel, axis 1 of (N, C, *)"
            )
    return None


def computes_settings(cls: type) -> bool:
    """Whether a class in front of the one whose kernel is known computes one of its settings.

    Example:
        >>> from sj_core import backend, neuron
        >>> backend.computes_settings(neuron.LIFNode)
        False
    """
    for base in cls.__mro__:
        if base.__dict__.get("native_name") is not None:
            return False
        if any(isinstance(base.__dict__.get(name), property) for name in _SETTINGS):
            return True
    return False


def _has_any(names: Mapping[str, Any], wanted: tuple[str, ...]) -> bool:
    return any(name in names for name in wanted)


def native_owner(cls: type) -> Any:
    """Return the class whose `native_name` describes `cls`; None if the dynamics were changed.

    Example:
        >>> from sj_core import backend, neuron
        >>> class Named(neuron.LIFNode): ...
        >>> backend.native_owner(Named).__name__
        'LIFNode'
    """
    if getattr(cls, "computes_settings", False):
        return None
    for base in cls.__mro__:
        if base.__dict__.get("native_name") is not None:
            return base
        if _has_any(base.__dict__, _DYNAMICS):
            return None
    return None

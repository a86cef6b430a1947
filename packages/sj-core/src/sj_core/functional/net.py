"""Act on every module of a net: reset, step mode, backend, detach."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from typing import Any

from torch import nn

from sj_core import backend as _backend, layer
from sj_core._checks import check_classes, check_module
from sj_core.base import STEP_MODES, StepModule

# Torch layers that take the axis after the first for channels, or count axes from the front.
_BLIND_TO_TIME = (
    nn.modules.conv._ConvNd,
    nn.modules.batchnorm._NormBase,
    nn.GroupNorm,
    nn.LocalResponseNorm,
    nn.Flatten,
    nn.Unflatten,
    nn.Fold,
    nn.Unfold,
    nn.ChannelShuffle,
    nn.Softmax2d,
    nn.Upsample,
    nn.modules.padding._ReflectionPadNd,
    nn.modules.padding._ReplicationPadNd,
    nn.modules.padding._CircularPadNd,
    nn.modules.pooling._MaxPoolNd,
    nn.modules.pooling._MaxUnpoolNd,
    nn.modules.pooling._AvgPoolNd,
    nn.modules.pooling._LPPoolNd,
    nn.modules.pooling._AdaptiveAvgPoolNd,
    nn.modules.pooling._AdaptiveMaxPoolNd,
    nn.FractionalMaxPool2d,
    nn.FractionalMaxPool3d,
    nn.Dropout1d,
    nn.Dropout2d,
    nn.Dropout3d,
)

_getattr: Any = nn.Module.__getattr__


def reset_net(net: nn.Module) -> None:
    """Put every memory in ``net`` back to its reset value: call it between sequences.

    Every module of ``net.modules()`` with a callable ``reset()`` is reset, those of other
    libraries too. The net is walked afresh at each call.

    >>> import torch
    >>> from sj_core import functional, neuron
    >>> net = torch.nn.Sequential(neuron.IFNode())
    >>> _ = net(torch.full((1,), 0.5))
    >>> functional.reset_net(net)
    >>> net[0].v
    0.0
    """
    _call_each(net, "reset")


def detach_net(net: nn.Module) -> None:
    """Cut every memory in ``net`` from the autograd graph: truncated backpropagation in time.

    The values stay. Lists, tuples and dicts of tensors are cut too.

    >>> import torch
    >>> from sj_core import functional, neuron
    >>> net = torch.nn.Sequential(torch.nn.Linear(2, 2), neuron.IFNode())
    >>> _ = net(torch.rand(1, 2))
    >>> functional.detach_net(net)
    >>> net[1].v.requires_grad
    False
    """
    _call_each(net, "detach")


def set_step_mode(net: nn.Module, step_mode: str) -> None:
    """Set the step mode of every module in ``net`` that has one.

    ``'s'``: inputs are one step ``[N, *]``; ``'m'``: sequences ``[T, N, *]``. All or nothing: on an
    error no module has changed. Containers that fix the mode of their children are set but not
    entered.

    Warns once, in ``'m'``, if ``net`` holds plain torch layers that would take the time axis for
    another one; the warning names each and the cure.

    Raises ``ValueError`` for another value, and if a module has no such step mode; ``TypeError``,
    as the other functions here, if ``net`` is no module.

    >>> import torch
    >>> from sj_core import functional, layer, neuron
    >>> net = torch.nn.Sequential(layer.Linear(8, 4), neuron.IFNode())
    >>> functional.set_step_mode(net, "m")
    >>> net(torch.zeros(5, 2, 8)).shape
    torch.Size([5, 2, 4])
    """
    check_module("net", net)
    if step_mode not in STEP_MODES:
        raise ValueError(
            f"`step_mode` (={step_mode!r}) of {type(net).__name__} must be 's' (one step, "
            "`[N, *]`) or 'm' (a sequence, `[T, N, *]`)."
        )
    reached = list(_reached_by_step_mode(net))
    targets = [(path, module) for path, module in reached if hasattr(module, "step_mode")]
    for path, module in targets:
        if isinstance(module, StepModule):
            with _naming(path):
                module.check_step_mode(step_mode)
    _set_all(targets, "step_mode", step_mode)
    if step_mode == "m":
        _warn_of_plain_layers(reached)


def set_backend(
    net: nn.Module, backend: str, instance: type | tuple[type, ...] = nn.Module
) -> None:
    """Set the backend of every module in ``net`` that has one and is an ``instance``.

    ``'torch'``, ``'native'`` or ``'auto'``. All or nothing: on an error no module has changed.

    Raises ``ValueError`` for another value and for a module that ``'native'`` cannot run,
    ``ImportError`` if ``'native'`` is asked for and sj-kernels is missing.

    >>> import torch
    >>> from sj_core import functional, neuron
    >>> net = torch.nn.Sequential(neuron.IFNode(), neuron.LIFNode())
    >>> functional.set_backend(net, "torch", instance=neuron.LIFNode)
    >>> net[0].backend, net[1].backend
    ('auto', 'torch')
    """
    check_module("net", net)
    check_classes("instance", instance)
    if backend not in _backend.BACKENDS:
        raise ValueError(f"`backend` (={backend!r}) must be 'torch', 'native' or 'auto'.")
    modules: list[tuple[str, nn.Module]] = list(net.named_modules())
    targets = [
        (path, module)
        for path, module in modules
        if isinstance(module, instance) and hasattr(module, "backend")
    ]
    _set_all(targets, "backend", backend)


def set_spiking_mode(net: nn.Module, spiking: bool) -> None:
    """Let every surrogate in ``net`` spike, or compute its smooth primitive instead.

    With ``spiking=False`` the net is differentiable in the ordinary sense: its gradients are those
    of what it computes, so they can be checked by finite differences. All or nothing.

    Raises ``TypeError`` if ``spiking`` is no bool, ``ValueError`` if a surrogate has no primitive.

    >>> import torch
    >>> from sj_core import functional, neuron
    >>> net = torch.nn.Sequential(neuron.IFNode())
    >>> functional.set_spiking_mode(net, False)
    >>> net(torch.tensor([1.0])).item()
    0.5
    """
    check_module("net", net)
    if not isinstance(spiking, bool):
        raise TypeError(f"`spiking` (={spiking!r}) must be True or False.")
    targets = [(path, m) for path, m in net.named_modules() if hasattr(m, "spiking")]
    _set_all(targets, "spiking", spiking)


def _call_each(net: nn.Module, method: str) -> None:
    check_module("net", net)
    for module in net.modules():
        cls: Any = type(module)
        searched_by_torch = cls.__getattr__ is _getattr  # to no end but a long message
        if searched_by_torch and not hasattr(cls, method) and method not in module.__dict__:
            continue
        function = getattr(module, method, None)
        # A child that happens to be called `reset` is no method.
        if callable(function) and not isinstance(function, nn.Module):
            function()


def _reached_by_step_mode(
    module: nn.Module, path: str = "", seen: set[int] | None = None
) -> Iterator[tuple[str, nn.Module]]:
    seen = set() if seen is None else seen
    if id(module) in seen:
        return
    seen.add(id(module))
    yield path, module
    if getattr(module, "keeps_step_mode_of_children", False):
        return
    for name, child in module.named_children():
        yield from _reached_by_step_mode(child, f"{path}.{name}" if path else name, seen)


def _set_all(targets: Iterable[tuple[str, nn.Module]], name: str, value: Any) -> None:
    done: list[tuple[nn.Module, Any]] = []
    try:
        for path, module in targets:
            before = getattr(module, name)
            with _naming(path):
                setattr(module, name, value)
            done.append((module, before))
    except Exception:
        for module, before in reversed(done):
            setattr(module, name, before)
        raise


class _naming:
    """Adds to an error that leaves the block where in the net its module stands."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if error is not None and self.path:
            error.add_note(f"The module is `{self.path}` of the net; no module has been changed.")


def _is_blind_to_time(module: nn.Module) -> bool:
    if isinstance(module, StepModule):
        return False
    per_channel = isinstance(module, nn.PReLU) and module.num_parameters > 1
    return per_channel or isinstance(module, _BLIND_TO_TIME)


def _warn_of_plain_layers(reached: list[tuple[str, nn.Module]]) -> None:
    plain = [(path, type(module).__name__) for path, module in reached if _is_blind_to_time(module)]
    if not plain:
        return
    named = ", ".join(f"`{path or 'net'}` ({kind})" for path, kind in plain)
    known = sorted({f"`layer.{kind}`" for _, kind in plain if hasattr(layer, kind)})
    cure = f"use {', '.join(known)}, or wrap" if known else "wrap"
    warnings.warn(
        f"The net takes sequences `[T, N, *]` now, but these plain torch layers do not know the "
        f"time axis and fail or compute something else: {named}; {cure} them in "
        "`layer.SeqToANNContainer`.",
        UserWarning,
        stacklevel=3,
    )

"""Neurons by name: what `--neuron`, `--surrogate` and their settings build."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any

from torch import nn

import sj_core.neuron
import sj_core.surrogate
from sj_core.surrogate import SurrogateFunctionBase
from sj_train.fit.config import ONLINE, FitConfig
from sj_train.fit.errors import ConfigError
from sj_train.online import OTTTLIFNode

NeuronFactory = Callable[[], nn.Module]

NEURONS = {
    "if": "IFNode",
    "lif": "LIFNode",
    "plif": "ParametricLIFNode",
    "qif": "QIFNode",
    "eif": "EIFNode",
    "izhikevich": "IzhikevichNode",
    "alif": "AdaptiveLIFNode",
    "klif": "KLIFNode",
    "cuba": "CUBALIFNode",
    "glif": "GatedLIFNode",
    "psn": "PSN",
    "masked-psn": "MaskedPSN",
    "sliding-psn": "SlidingPSN",
}

# A step of these depends on later ones, or on the number of all.
WHOLE_SEQUENCES = ("glif", "psn", "masked-psn")


def neuron_classes() -> dict[str, type[nn.Module]]:
    """The names that `--neuron` knows, with their classes in sj_core.neuron."""
    return {
        name: getattr(sj_core.neuron, class_name)
        for name, class_name in NEURONS.items()
        if hasattr(sj_core.neuron, class_name)
    }


def surrogate_classes() -> dict[str, type[nn.Module]]:
    """The names that `--surrogate` knows: every class of sj_core.surrogate in snake case.

    Example:
        >>> surrogate_classes()["atan"].__name__
        'ATan'
    """
    return {
        _snake(name): value
        for name, value in vars(sj_core.surrogate).items()
        if inspect.isclass(value)
        and issubclass(value, SurrogateFunctionBase)
        and value is not SurrogateFunctionBase
        and not name.startswith("_")
    }


def _snake(name: str) -> str:
    special = {"ATan": "atan", "S2NN": "s2nn"}
    if name in special:
        return special[name]
    name = name.replace("ReLU", "Relu")
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def neuron_factory(config: FitConfig) -> NeuronFactory:
    """A function that builds one fresh neuron per call, with the run's settings.

    Settings that a neuron has no argument for (`tau` of IF, say) do not reach it.

    Raises:
        ConfigError: an unknown neuron or surrogate, or a neuron that the method cannot train.
    """
    neurons, surrogates = neuron_classes(), surrogate_classes()
    if config.neuron not in neurons:
        raise ConfigError("neuron", config.neuron, "must be one of " + ", ".join(neurons))
    if config.surrogate not in surrogates:
        rule = "must be one of " + ", ".join(sorted(surrogates))
        raise ConfigError("surrogate", config.surrogate, rule)
    cls = neurons[config.neuron]
    if config.neuron in WHOLE_SEQUENCES and config.method in ONLINE:
        rule = f"takes whole sequences, and {config.method} goes step by step: take another"
        raise ConfigError("neuron", config.neuron, rule)
    if config.method == "ottt":
        if config.neuron != "lif":
            raise ConfigError(
                "neuron", config.neuron, "must be lif for ottt, whose trace is a LIF's"
            )
        cls = OTTTLIFNode
    accepted = accepted_arguments(cls)
    values: dict[str, Any] = {
        "tau": config.tau,
        "init_tau": config.tau,
        "v_threshold": config.v_threshold,
        "v_reset": config.v_reset,
        "detach_reset": config.detach_reset,
        "backend": config.backend,
        "T": config.time_steps,
        "k": min(config.time_steps, 2),
    }
    values = {name: value for name, value in values.items() if name in accepted}
    if config.neuron == "glif":
        # Its init_tau is no time constant in steps but a leak in (0, 1).
        values.pop("init_tau", None)

    def build() -> nn.Module:
        try:
            return cls(**values, surrogate_function=surrogates[config.surrogate]())
        except ValueError as error:
            if config.backend != "native":
                raise
            # The neuron tells what the kernels cannot do, and the cure.
            reason = str(error).removeprefix("`backend` (='native') ").rstrip(".")
            raise ConfigError("backend", config.backend, reason) from error

    return build


def accepted_arguments(cls: type[nn.Module]) -> set[str]:
    """Names of the constructor's arguments, those passed on to the base classes included."""
    names: set[str] = set()
    for base in cls.__mro__:
        init = vars(base).get("__init__")
        if init is None or base is nn.Module:
            continue
        parameters = inspect.signature(init).parameters.values()
        names |= {p.name for p in parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)}
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            break
    return names - {"self"}

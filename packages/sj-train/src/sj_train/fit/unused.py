"""Settings that were asked for and have no effect on the run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from sj_train.fit.config import FitConfig
from sj_train.fit.neurons import accepted_arguments, neuron_classes

_OF_METHODS = {
    "tet_lambda": ("tet",),
    "fptt_alpha": ("fptt",),
    "sltt_k": ("sltt",),
    "online": ("ottt", "sltt"),
}
_OF_NEURONS = {
    "neuron": (),
    "surrogate": (),
    "tau": ("tau", "init_tau"),
    "v_threshold": ("v_threshold",),
    "v_reset": ("v_reset",),
    "detach_reset": ("detach_reset",),
    "backend": ("backend",),
}


def without_effect(config: FitConfig, given: Iterable[str]) -> Iterator[str]:
    """A sentence for each setting of those `given` that the others leave without an effect.

    Example:
        >>> list(without_effect(FitConfig(method="bptt", sltt_k=2), ["method", "sltt_k"]))
        ['`--sltt-k` has no effect with `--method bptt`.']
    """
    for name in given:
        if cause := _cause(config, name):
            yield f"`--{name.replace('_', '-')}` has no effect with `{cause}`."


def _cause(config: FitConfig, name: str) -> str:
    if name in _OF_METHODS and config.method not in _OF_METHODS[name]:
        return f"--method {config.method}"
    if name in _OF_NEURONS:
        if config.model == "rnn":
            return "--model rnn"
        arguments = _OF_NEURONS[name]
        # The leak of a GLIF is no time constant.
        unknown = config.neuron == "glif" and name == "tau"
        cls = neuron_classes()[config.neuron]
        if arguments and (unknown or not accepted_arguments(cls).intersection(arguments)):
            return f"--neuron {config.neuron}"
    if name == "image_size" and config.image_size and not Path(config.data).is_dir():
        return f"--data {config.data}"
    return ""

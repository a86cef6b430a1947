"""Networks of `sj-train fit`, by name."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from sj_train.fit.config import FitConfig
from sj_train.fit.errors import ConfigError
from sj_train.fit.models.cnn import cnn as cnn
from sj_train.fit.models.mlp import mlp as mlp
from sj_train.fit.neurons import neuron_factory
from sj_train.online import OTTTSequential

BUILDERS: dict[str, Callable[..., nn.Module]] = {"mlp": mlp, "cnn": cnn}


def build_model(config: FitConfig, shape: tuple[int, ...], classes: int) -> nn.Module:
    """The network that the settings name, for inputs `[T, N, *shape]`.

    Raises:
        ConfigError: the architecture does not fit the data or the method.
    """
    if config.model not in ("mlp", "rnn") and len(shape) != 3:
        rule = f"needs images; samples here have shape {list(shape)}: take `--model mlp`"
        raise ConfigError("model", config.model, rule)
    net = BUILDERS[config.model](shape, classes, neuron_factory(config), config.width)
    if config.method != "ottt":
        return net
    if not isinstance(net, nn.Sequential):
        rule = "is no plain sequence of layers, which ottt needs: take `--model cnn`"
        raise ConfigError("model", config.model, rule)
    return OTTTSequential(*net)

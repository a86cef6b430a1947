"""Networks of `sj-train fit`, by name."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from sj_train.fit.config import ONLINE, FitConfig
from sj_train.fit.errors import ConfigError
from sj_train.fit.models.cnn import cnn as cnn
from sj_train.fit.models.mlp import mlp as mlp
from sj_train.fit.models.resnet import resnet as resnet
from sj_train.fit.models.rnn import rnn as rnn
from sj_train.fit.models.vgg import vgg as vgg
from sj_train.fit.neurons import neuron_factory
from sj_train.online import OTTTSequential

BUILDERS: dict[str, Callable[..., nn.Module]] = {
    "mlp": mlp,
    "cnn": cnn,
    "vgg": vgg,
    "resnet": resnet,
    "rnn": rnn,
}


def build_twin(config: FitConfig, shape: tuple[int, ...], classes: int) -> nn.Module:
    """The same network of ReLUs, for inputs `[N, *shape]`, to be trained and converted."""
    _check_shape(config, shape)
    if config.model == "rnn":
        raise ConfigError("model", config.model, "has no twin of ReLUs that could be converted")
    return BUILDERS[config.model](shape, classes, nn.ReLU, config.width, nn)


def _check_method(config: FitConfig) -> None:
    if config.model == "rnn" and config.method in ONLINE:
        rule = f"takes whole sequences, and {config.method} goes step by step: take another"
        raise ConfigError("model", config.model, rule)
    if config.model == "resnet" and config.method == "ottt":
        rule = "is no plain sequence of layers, which ottt needs: take `--model vgg`"
        raise ConfigError("model", config.model, rule)


def _check_shape(config: FitConfig, shape: tuple[int, ...]) -> None:
    if config.model not in ("mlp", "rnn") and len(shape) != 3:
        rule = f"needs images; samples here have shape {list(shape)}: take `--model mlp`"
        raise ConfigError("model", config.model, rule)


def build_model(config: FitConfig, shape: tuple[int, ...], classes: int) -> nn.Module:
    """The network that the settings name, for inputs `[T, N, *shape]`.

    Raises:
        ConfigError: the architecture does not fit the data or the method.
    """
    _check_shape(config, shape)
    _check_method(config)
    net = BUILDERS[config.model](shape, classes, neuron_factory(config), config.width)
    return OTTTSequential(*net) if config.method == "ottt" else net  # type: ignore[misc]

"""A fully connected spiking network."""

from __future__ import annotations

import math

from torch import nn

from sj_core import layer
from sj_train.fit.neurons import NeuronFactory


def mlp(
    shape: tuple[int, ...], classes: int, neuron: NeuronFactory, width: int = 0
) -> nn.Sequential:
    """Two hidden layers of `width` spiking neurons (usually 256) and a linear readout.

    Input `[T, N, *shape]`, output `[T, N, classes]`: the evidence for each class at each step.
    """
    width = width or 256
    return nn.Sequential(
        layer.Flatten(),
        layer.Linear(math.prod(shape), width, bias=False),
        layer.BatchNorm1d(width),
        neuron(),
        layer.Linear(width, width, bias=False),
        layer.BatchNorm1d(width),
        neuron(),
        layer.Linear(width, classes),
    )

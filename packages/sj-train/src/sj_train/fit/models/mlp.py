"""A fully connected spiking network."""

from __future__ import annotations

import math
from typing import Any

from torch import nn

from sj_core import layer
from sj_train.fit.neurons import NeuronFactory


def mlp(
    shape: tuple[int, ...],
    classes: int,
    neuron: NeuronFactory,
    width: int = 0,
    kit: Any = layer,
) -> nn.Sequential:
    """Two hidden layers of `width` spiking neurons (usually 256) and a linear readout.

    Input `[T, N, *shape]`, output `[T, N, classes]`: the evidence for each class at each step.
    `kit` holds the layers: with `torch.nn` and ReLU as the neuron it is an ordinary network,
    `[N, *shape]` to `[N, classes]`.
    """
    width = width or 256
    return nn.Sequential(
        kit.Flatten(),
        kit.Linear(math.prod(shape), width, bias=False),
        kit.BatchNorm1d(width),
        neuron(),
        kit.Linear(width, width, bias=False),
        kit.BatchNorm1d(width),
        neuron(),
        kit.Linear(width, classes),
    )

"""What the convolutional networks are built of."""

from __future__ import annotations

from typing import Any

from torch import nn

from sj_train.fit.neurons import NeuronFactory


def conv_block(channels: int, out: int, neuron: NeuronFactory, kit: Any) -> list[nn.Module]:
    """A 3x3 convolution that keeps the size, BatchNorm, a neuron."""
    return [
        kit.Conv2d(channels, out, 3, padding=1, bias=False),
        kit.BatchNorm2d(out),
        neuron(),
    ]


def classifier(
    features: int, hidden: int, classes: int, neuron: NeuronFactory, kit: Any
) -> list[nn.Module]:
    """Images flattened to `features`, a hidden layer with BatchNorm and neurons, a readout."""
    return [
        kit.Flatten(),
        kit.Linear(features, hidden, bias=False),
        kit.BatchNorm1d(hidden),
        neuron(),
        kit.Linear(hidden, classes),
    ]

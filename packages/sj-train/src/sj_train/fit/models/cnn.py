"""A convolutional spiking network that fits its depth to the size of the images."""

from __future__ import annotations

import math

from torch import nn

from sj_core import layer
from sj_train.fit.neurons import NeuronFactory


def cnn(
    shape: tuple[int, ...], classes: int, neuron: NeuronFactory, width: int = 0
) -> nn.Sequential:
    """Pairs of 3x3 convolutions, each pair halving the image, then two linear layers.

    `conv - BatchNorm - neuron` twice and a pooling, with `width` (usually 32), then twice as many
    channels, until the image is at most 4 pixels wide. Pooling takes the mean, so that a quiet
    region stays quiet. Input `[T, N, C, H, W]`, output `[T, N, classes]`.
    """
    channels, height, length = shape
    width = width or 32
    layers: list[nn.Module] = []
    stages = max(1, min(5, math.floor(math.log2(max(1, min(height, length) // 2)))))
    for stage in range(stages):
        out = width * 2 ** min(stage, 3)
        for _ in range(2):
            layers += [
                layer.Conv2d(channels, out, 3, padding=1, bias=False),
                layer.BatchNorm2d(out),
                neuron(),
            ]
            channels = out
        if min(height, length) > 1:
            layers.append(layer.AvgPool2d(2))
            height, length = height // 2, length // 2
    hidden = 4 * width
    layers += [
        layer.Flatten(),
        layer.Linear(channels * height * length, hidden, bias=False),
        layer.BatchNorm1d(hidden),
        neuron(),
        layer.Linear(hidden, classes),
    ]
    return nn.Sequential(*layers)

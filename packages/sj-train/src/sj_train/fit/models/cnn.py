"""A convolutional spiking network that fits its depth to the size of the images."""

from __future__ import annotations

import math
from typing import Any

from torch import nn

from sj_core import layer
from sj_train.fit.models.blocks import classifier, conv_block
from sj_train.fit.neurons import NeuronFactory


def cnn(
    shape: tuple[int, ...],
    classes: int,
    neuron: NeuronFactory,
    width: int = 0,
    kit: Any = layer,
) -> nn.Sequential:
    """Pairs of 3x3 convolutions, each pair halving the image, then two linear layers.

    `conv - BatchNorm - neuron` twice and a pooling, with `width` (usually 32), then twice as many
    channels, until the image is at most 4 pixels wide. Pooling takes the mean, so that a quiet
    region stays quiet. Input `[T, N, C, H, W]`, output `[T, N, classes]`. `kit` holds the
    layers: with `torch.nn` and ReLU as the neuron it is an ordinary network, without T.
    """
    channels, height, length = shape
    width = width or 32
    layers: list[nn.Module] = []
    stages = max(1, min(5, math.floor(math.log2(max(1, min(height, length) // 2)))))
    for stage in range(stages):
        out = width * 2 ** min(stage, 3)
        for _ in range(2):
            layers += conv_block(channels, out, neuron, kit)
            channels = out
        if min(height, length) > 1:
            layers.append(kit.AvgPool2d(2))
            height, length = height // 2, length // 2
    layers += classifier(channels * height * length, 4 * width, classes, neuron, kit)
    return nn.Sequential(*layers)

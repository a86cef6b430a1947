"""VGG-11 of spiking neurons."""

from __future__ import annotations

from typing import Any

from torch import nn

from sj_core import layer
from sj_train.fit.models.blocks import classifier, conv_block
from sj_train.fit.neurons import NeuronFactory

PLAN = ((1,), (2,), (4, 4), (8, 8), (8, 8))


def vgg(
    shape: tuple[int, ...],
    classes: int,
    neuron: NeuronFactory,
    width: int = 0,
    kit: Any = layer,
) -> nn.Sequential:
    """Eight 3x3 convolutions in five stages, from `width` (usually 64) to 8 `width` channels.

    A stage ends with a max pooling while the image is at least 2 pixels wide; two linear layers
    follow. Input `[T, N, C, H, W]`, output `[T, N, classes]`. `kit` holds the layers: with
    `torch.nn` and ReLU as the neuron it is an ordinary network, without T.

    Source: Simonyan and Zisserman (2014), configuration A, with BatchNorm.
    """
    channels, height, length = shape
    width = width or 64
    layers: list[nn.Module] = []
    for stage in PLAN:
        for factor in stage:
            out = factor * width
            layers += conv_block(channels, out, neuron, kit)
            channels = out
        if min(height, length) > 1:
            layers.append(kit.MaxPool2d(2))
            height, length = height // 2, length // 2
    layers += classifier(channels * height * length, 8 * width, classes, neuron, kit)
    return nn.Sequential(*layers)

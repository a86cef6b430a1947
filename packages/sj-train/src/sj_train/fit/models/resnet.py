"""ResNet of spiking neurons whose shortcuts add spikes to spikes."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from sj_core import layer
from sj_train.fit.neurons import NeuronFactory


class SEWBlock(nn.Module):
    """Spike-element-wise block: y = SN(BN(conv(SN(BN(conv(x)))))) + shortcut(x).

    The sum is taken after the neuron, so that a block whose branch is silent is the identity. Where
    size or channels change, the shortcut is a 1x1 convolution, BatchNorm and a neuron of its own.

    Source: Fang et al., Deep Residual Learning in Spiking Neural Networks (2021), with g = ADD.
    """

    def __init__(
        self, channels: int, out: int, stride: int, neuron: NeuronFactory, kit: Any = layer
    ) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            kit.Conv2d(channels, out, 3, stride=stride, padding=1, bias=False),
            kit.BatchNorm2d(out),
            neuron(),
            kit.Conv2d(out, out, 3, padding=1, bias=False),
            kit.BatchNorm2d(out),
            neuron(),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels != out:
            self.shortcut = nn.Sequential(
                kit.Conv2d(channels, out, 1, stride=stride, bias=False),
                kit.BatchNorm2d(out),
                neuron(),
            )

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.branch(x) + self.shortcut(x)
        return y


def resnet(
    shape: tuple[int, ...],
    classes: int,
    neuron: NeuronFactory,
    width: int = 0,
    kit: Any = layer,
) -> nn.Sequential:
    """A stem, two blocks in each of three stages, the mean over the image, a linear readout.

    `width` channels (usually 32), then twice and four times as many on images half and a quarter
    as wide; images from 64 pixels on are halved twice in the stem. Input `[T, N, C, H, W]`, output
    `[T, N, classes]`. `kit` holds the layers, as in `cnn`.
    """
    width = width or 32
    large = min(shape[1:]) >= 64
    layers: list[nn.Module] = [
        kit.Conv2d(
            shape[0], width, 7 if large else 3, 2 if large else 1, 3 if large else 1, bias=False
        ),
        kit.BatchNorm2d(width),
        neuron(),
    ]
    if large:
        layers.append(kit.MaxPool2d(2))
    channels = width
    for stage in range(3):
        out = width * 2**stage
        for block in range(2):
            stride = 2 if stage > 0 and block == 0 else 1
            layers.append(SEWBlock(channels, out, stride, neuron, kit))
            channels = out
    layers += [kit.AdaptiveAvgPool2d(1), kit.Flatten(), kit.Linear(channels, classes)]
    return nn.Sequential(*layers)

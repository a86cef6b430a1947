"""A spiking LSTM over the time steps."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor, nn

from sj_core import layer
from sj_train.fit.errors import require
from sj_train.fit.spikes import Spikes


class SpikingRecurrent(nn.Module):
    """Two layers of sj-rnn's SpikingLSTM and a linear readout at each step.

    Input `[T, N, *shape]`, flattened to `[T, N, F]`; output `[T, N, classes]`.
    """

    def __init__(self, shape: tuple[int, ...], classes: int, width: int = 0) -> None:
        super().__init__()
        rnn: Any = require("sj_rnn", "sj-rnn", "`--model rnn`")
        width = width or 128
        self.flatten = layer.Flatten(step_mode="m")
        self.lstm = rnn.SpikingLSTM(math.prod(shape), width, 2)
        self.spikes = Spikes()
        self.readout = layer.Linear(width, classes, step_mode="m")

    def forward(self, x_seq: Tensor) -> Tensor:
        y_seq, _ = self.lstm(self.flatten(x_seq))
        y: Tensor = self.readout(self.spikes(y_seq))
        return y


def rnn(
    shape: tuple[int, ...], classes: int, neuron: Any = None, width: int = 0
) -> SpikingRecurrent:
    """The recurrent network; its cells have their own dynamics, so `neuron` is not used.

    Raises:
        ImportError: sj-rnn is not installed.
    """
    return SpikingRecurrent(shape, classes, width)

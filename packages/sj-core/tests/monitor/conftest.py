"""A small spiking net that fires."""

import pytest
import torch
from torch import nn

from sj_core import functional, layer, neuron


@pytest.fixture
def net_of():
    """Makes the net, in a step mode."""

    def make(step_mode="m"):
        torch.manual_seed(0)
        net = nn.Sequential(
            layer.Linear(4, 6), neuron.LIFNode(), layer.Linear(6, 3), neuron.IFNode(v_threshold=0.4)
        )
        functional.set_step_mode(net, step_mode)
        return net

    return make

"""A state that an evaluation in `torch.inference_mode` has left is carried into training."""

import copy

import pytest
import torch
from torch import nn

from sj_core import base, functional, layer, neuron

T = 4


class Doubled(neuron.BaseNode):
    def neuronal_charge(self, x):
        return self.v * self.v + x


class Product(base.MemoryModule):
    """A user's module that reads its memory as it is."""

    def __init__(self):
        super().__init__()
        self.register_memory("y", None)

    def single_step_forward(self, x):
        self.y = x if self.y is None else self.y * x
        return self.y


MODULES = {
    "LIF": lambda: neuron.LIFNode(),
    "LIF on torch": lambda: neuron.LIFNode(backend="torch"),
    "PLIF": lambda: neuron.ParametricLIFNode(),
    "Izhikevich": lambda: neuron.IzhikevichNode(a=0.2, b=0.3),
    "KLIF": lambda: neuron.KLIFNode(),
    "adaptive LIF": lambda: neuron.AdaptiveLIFNode(),
    "CUBALIF": lambda: neuron.CUBALIFNode(),
    "half threshold": lambda: neuron.HalfThresholdIFNode(),
    "gated LIF": lambda: neuron.GatedLIFNode(2 * T),
    "masked PSN": lambda: neuron.MaskedPSN(3, 2 * T, lambda_init=1.0),
    "sliding PSN": lambda: neuron.SlidingPSN(3),
    "readout": lambda: neuron.NonSpikingLIFNode(decode=None),
    "own": Doubled,
    "filter": lambda: layer.SynapseFilter(3.0, learnable=True),
    "delay": lambda: layer.Delay(2),
    "dropout": lambda: layer.Dropout(0.3),
    "dropconnect": lambda: layer.DropConnectLinear(5, 3),
    "feedback": lambda: layer.ElementWiseRecurrentContainer(nn.Linear(5, 5), torch.mul),
    "linear feedback": lambda: layer.LinearRecurrentContainer(nn.Linear(5, 5), 5, 5),
}


def trained(module, x):
    x = x.clone().requires_grad_()
    y = module(x)
    return y, *torch.autograd.grad(y.square().sum(), [x, *module.parameters()])


@pytest.mark.parametrize("kind", MODULES)
def test_training_goes_on_from_an_evaluation(kind):
    torch.manual_seed(0)
    evaluated = MODULES[kind]()
    functional.set_step_mode(evaluated, "m")
    twin = copy.deepcopy(evaluated)
    first, second = torch.rand(2, T, 2, 5) * 2
    for module, mode in ((evaluated, torch.inference_mode()), (twin, torch.no_grad())):
        torch.manual_seed(1)
        with mode:
            module(first)
    for ours, theirs in zip(trained(evaluated, second), trained(twin, second), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)


def test_detach_net_makes_any_state_fit_for_training():
    module = Product()
    with torch.inference_mode():
        module(torch.full((2,), 3.0))
    x = torch.ones(2, requires_grad=True)
    with pytest.raises(RuntimeError, match="Inference tensors"):
        module(x)
    functional.detach_net(module)
    module(x).sum().backward()
    assert x.grad.tolist() == [3.0, 3.0]


def test_a_state_stays_one_of_inference_mode_within_it():
    with torch.inference_mode():
        node = neuron.IFNode(backend="torch")
        node(torch.ones(2))
        functional.detach_net(node)
        node(torch.ones(2))
    assert node.v.is_inference()

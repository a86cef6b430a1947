"""The loop over time steps and its helpers."""

from typing import NamedTuple

import pytest
import torch
from torch import nn

from sj_core import functional, layer, neuron
from sj_core.layer import loop


class Pair(NamedTuple):
    a: torch.Tensor
    b: torch.Tensor


def test_modules_in_order_and_tuples_as_arguments():
    x = torch.tensor([1.0, 2.0])
    assert loop.run_modules([torch.neg, torch.exp], x).tolist() == (-x).exp().tolist()
    assert loop.run_modules((torch.add, torch.neg), (x, x)).tolist() == [-2.0, -4.0]
    assert loop.run_modules([], x) is x
    assert loop.run_modules([], (x, x)) == (x, x)
    assert loop.run_modules(nn.Sequential(nn.Bilinear(2, 2, 3), nn.ReLU()), (x, x)).shape == (3,)


def test_a_sequential_subclass_keeps_its_own_forward():
    class Sum(nn.Sequential):
        def forward(self, a, b):
            return a + b

    assert loop.run_modules(Sum(nn.Identity()), (torch.ones(1), torch.ones(1))).item() == 2.0


def test_outputs_are_stacked_whatever_they_are_held_in():
    x = torch.arange(6.0).view(3, 2)
    y = loop.loop_steps(x, lambda s: Pair(s, [s + 1]))
    assert isinstance(y, Pair)
    assert torch.equal(y.a, x)
    assert torch.equal(y.b[0], x + 1)
    assert torch.equal(loop.loop_steps(x, torch.neg, dim=1), -x)


def test_untouched_puts_everything_back_even_after_an_error():
    net = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Dropout(), neuron.IFNode())
    net[1].eval()
    net(torch.randn(4, 2))
    state = functional.get_state(net)
    random = torch.get_rng_state()

    def fail():
        with loop.untouched(net):
            assert not torch.is_grad_enabled()
            net(torch.zeros(4, 2))
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert functional.get_state(net)["3.v"] is state["3.v"]
    assert torch.equal(torch.get_rng_state(), random)
    assert [m.training for m in net] == [True, False, True, True]
    assert torch.is_grad_enabled()


def test_empty_outputs_of_tuples():
    net = layer.MultiStepContainer(neuron.IFNode())
    y = loop.empty_output(net, lambda x: (x, x[:, :1]), torch.zeros(0, 4, 3))
    assert [tuple(item.shape) for item in y] == [(0, 4, 3), (0, 4, 1)]

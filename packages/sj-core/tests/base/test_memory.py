"""Memories of a user's own module: private names and tensors for reset values."""

import copy
import pickle

import pytest
import torch
from torch import nn

from sj_core import base, functional


class Filter(base.MemoryModule):
    """Starts from a tensor, and keeps a memory whose name starts with an underscore."""

    def __init__(self):
        super().__init__()
        self.register_memory("y", torch.tensor([1.0, 2.0]))
        self.register_memory("_last", None)

    def single_step_forward(self, x):
        self.y = 0.5 * self.y + x
        self._last = x * 2
        return self.y


@pytest.mark.parametrize("twin", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_a_private_memory_is_copied_detached(twin):
    module = Filter()
    module(torch.ones(2, requires_grad=True))
    other = twin(module)
    assert torch.equal(other._last, torch.full((2,), 2.0))
    assert not other._last.requires_grad
    assert module._last.requires_grad


def test_a_tensor_for_a_reset_value_moves_with_the_module():
    net = nn.Sequential(Filter()).double()
    net(torch.ones(2, dtype=torch.float64))
    functional.reset_net(net)
    assert net[0].y.dtype == torch.float64
    assert net[0].y.tolist() == [1.0, 2.0]
    net.to("meta")
    functional.reset_net(net)
    assert net[0].y.device.type == "meta"


def test_a_reset_value_is_not_shared_with_the_memory():
    module = Filter()
    module.y.mul_(0)
    module.reset()
    assert module.y.tolist() == [1.0, 2.0]


def test_what_holds_state():
    module = Filter()
    assert not module.holds_state("_last")
    module(torch.ones(2))
    assert module.holds_state("_last")
    module.reset()
    assert not module.holds_state("_last")

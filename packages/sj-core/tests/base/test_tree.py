"""Outputs that are tuples, dicts and the like keep their class on every way over the time axis."""

from collections import OrderedDict, defaultdict, deque
from typing import NamedTuple

import pytest
import torch
from torch import nn

from sj_core import base, functional, layer


class Pair(NamedTuple):
    low: torch.Tensor
    high: torch.Tensor


def as_pair(x):
    return Pair(x.clamp(max=0), x.clamp(min=0))


def as_dict(x):
    return {"low": x.clamp(max=0), "rest": [x.clamp(min=0), None]}


class Split(nn.Module):
    def __init__(self, form):
        super().__init__()
        self.form = form

    def forward(self, x):
        return self.form(x)


class SplitMemory(base.MemoryModule):
    """A user's module with a state whose output is not one tensor."""

    def __init__(self, form):
        super().__init__("m")
        self.form = form
        self.register_memory("last", None)

    def single_step_forward(self, x):
        self.last = x
        return self.form(x)


WAYS = {
    "fold": lambda form: layer.SeqToANNContainer(Split(form)),
    "loop": lambda form: layer.MultiStepContainer(Split(form)),
    "memory": SplitMemory,
    "seq_to_ann_forward": lambda form: lambda x: functional.seq_to_ann_forward(x, Split(form)),
    "multi_step_forward": lambda form: lambda x: functional.multi_step_forward(x, Split(form)),
    "chunks": lambda form: lambda x: functional.chunk_multi_step_forward(2, x, SplitMemory(form)),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_named_tuple_of_sequences(way):
    x = torch.randn(5, 2, 3)
    y = WAYS[way](as_pair)(x)
    assert type(y) is Pair
    assert torch.equal(y.low, x.clamp(max=0))
    assert torch.equal(y.high, x.clamp(min=0))


@pytest.mark.parametrize("way", WAYS)
def test_a_dict_of_sequences_and_of_nothing(way):
    x = torch.randn(5, 2, 3)
    y = WAYS[way](as_dict)(x)
    assert list(y) == ["low", "rest"]
    assert torch.equal(y["low"], x.clamp(max=0))
    assert torch.equal(y["rest"][0], x.clamp(min=0))
    assert y["rest"][1] is None


def test_no_step_of_a_named_tuple():
    module = SplitMemory(as_pair)
    y = module(torch.zeros(0, 2, 3))
    assert type(y) is Pair
    assert y.low.shape == y.high.shape == (0, 2, 3)
    assert module.last is None


@pytest.mark.parametrize(
    "value",
    [
        deque([torch.ones(2), 1.0], maxlen=2),
        defaultdict(list, a=torch.ones(2)),
        OrderedDict(a=(torch.ones(2),)),
        Pair(torch.ones(2), torch.ones(2)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_container_of_tensors_keeps_its_class(value):
    moved = base.map_tensors(torch.Tensor.double, value)
    assert type(moved) is type(value)
    assert getattr(moved, "maxlen", None) == getattr(value, "maxlen", None)
    assert getattr(moved, "default_factory", None) is getattr(value, "default_factory", None)
    tensors = []
    base.map_tensors(lambda x: tensors.append(x) or x, moved)
    assert [x.dtype for x in tensors] == [torch.float64] * len(tensors) != []

"""Every way of writing a ReLU or a max pool becomes a module of its own."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import fx, nn
from traced_calls import Fn

from sj_convert import Converter
from sj_convert.activation import MAX_POOLS, relu_ceiling
from sj_convert.flow import module_of
from sj_convert.normalise import normalise
from sj_convert.rewrite import calls_of
from sj_convert.trace import trace
from sj_core import functional

RELUS = {
    "F.relu": (lambda s, x: F.relu(x), math.inf),
    "F.relu keyword": (lambda s, x: F.relu(input=x), math.inf),
    "F.relu inplace": (lambda s, x: F.relu(x, True), math.inf),
    "torch.relu": (lambda s, x: torch.relu(x), math.inf),
    "torch.relu_": (lambda s, x: torch.relu_(x), math.inf),
    "method": (lambda s, x: x.relu(), math.inf),
    "method_": (lambda s, x: x.relu_(), math.inf),
    "module": (lambda s, x: s.act(x), math.inf),
    "clamp": (lambda s, x: x.clamp(min=0), math.inf),
    "clamp positional": (lambda s, x: x.clamp(0), math.inf),
    "torch.clamp": (lambda s, x: torch.clamp(x, min=0.0), math.inf),
    "clamp_": (lambda s, x: x.clamp_(min=0), math.inf),
    "clip": (lambda s, x: torch.clip(x, 0), math.inf),
    "clamp_min": (lambda s, x: x.clamp_min(0), math.inf),
    "threshold": (lambda s, x: F.threshold(x, 0, 0), math.inf),
    "F.relu6": (lambda s, x: F.relu6(x), 6.0),
    "relu6 module": (lambda s, x: s.six(x), 6.0),
    "hardtanh": (lambda s, x: F.hardtanh(x, 0, 1.5), 1.5),
    "hardtanh keyword": (lambda s, x: F.hardtanh(x, max_val=2, min_val=0), 2.0),
    "clamp both": (lambda s, x: x.clamp(0, 0.5), 0.5),
}


@pytest.mark.parametrize("case", list(RELUS))
def test_every_relu_becomes_a_module_of_its_own(case):
    fn, ceiling = RELUS[case]
    x = torch.randn(50, 4, generator=torch.Generator().manual_seed(0)) * 4
    net = Fn(fn)
    gm = normalise(trace(net))
    found = [n for n in gm.graph.nodes if relu_ceiling(gm, n) is not None]
    assert [relu_ceiling(gm, n) for n in found] == [ceiling]
    assert isinstance(module_of(gm, found[0]), (nn.ReLU, nn.Hardtanh))
    assert torch.equal(gm(x), x.clamp(0, ceiling))
    snn = Converter([x.clone()], mode="max", v_init=0.5)(net)
    assert len([n for n in snn.graph.nodes if n.op in ("call_function", "call_method")]) == 0
    functional.set_step_mode(snn, "m")
    T = 40
    assert (snn(x.expand(T, 50, 4)).mean(0) - x.clamp(0, ceiling)).abs().max() <= x.max() / T


POOLS = {
    "F": (lambda s, x: F.max_pool2d(x, 2), nn.MaxPool2d(2)),
    "F keyword": (
        lambda s, x: F.max_pool2d(x, kernel_size=3, stride=1, padding=1),
        nn.MaxPool2d(3, 1, 1),
    ),
    "F positional": (
        lambda s, x: F.max_pool2d(x, 2, 2, 1, 1, True),
        nn.MaxPool2d(2, 2, 1, 1, ceil_mode=True),
    ),
    "torch": (lambda s, x: torch.max_pool2d(x, (2, 3), (1, 2)), nn.MaxPool2d((2, 3), (1, 2))),
    "adaptive": (lambda s, x: F.adaptive_max_pool2d(x, (2, 3)), nn.AdaptiveMaxPool2d((2, 3))),
    "adaptive keyword": (
        lambda s, x: F.adaptive_max_pool2d(x, output_size=1),
        nn.AdaptiveMaxPool2d(1),
    ),
}


@pytest.mark.parametrize("case", list(POOLS))
def test_every_max_pool_becomes_a_module(case):
    fn, expected = POOLS[case]
    x = torch.randn(3, 2, 7, 9)
    gm = normalise(trace(Fn(fn)))
    assert len(calls_of(gm, MAX_POOLS)) == 1
    assert torch.equal(gm(x), expected(x))
    snn = Converter([x])(Fn(fn))
    functional.set_step_mode(snn, "m")
    y = snn(torch.randn(5, *x.shape, generator=torch.Generator().manual_seed(3)))
    assert y.shape == (5, *expected(x).shape)


class Nested(nn.Module):
    def __init__(self):
        super().__init__()
        self.stage = nn.ModuleList(
            [Fn(lambda s, x: s.act(s.act(x) - 0.3)), Fn(lambda s, x: F.relu(x))]
        )

    def forward(self, x):
        for part in self.stage:
            x = part(x)
        return x


def test_names_tell_the_path():
    snn = Converter([torch.rand(3, 4)])(Nested())
    names = [name for name, _ in snn.snn_tailor.named_children()]
    assert names == ["stage_0_act", "stage_0_act_1", "stage_1_relu"]
    assert "snn_tailor.stage_1_relu.1" in str(snn.graph)


def test_neuron_moves_behind_the_pool_only_where_nothing_else_reads_it():
    alone = normalise(trace(nn.Sequential(nn.ReLU(), nn.MaxPool2d(2))))
    assert [type(module_of(alone, n)) for n in alone.graph.nodes if n.op == "call_module"] == [
        nn.MaxPool2d,
        nn.ReLU,
    ]
    read = normalise(trace(Fn(lambda s, x: F.max_pool2d(F.relu(x), 2).mean() + F.relu(x).mean())))
    shared = normalise(trace(Fn(lambda s, x: both(F.relu(x)))))
    for gm in (read, shared):
        x = torch.randn(2, 3, 4, 4)
        gm(x)
    order = [type(module_of(shared, n)) for n in shared.graph.nodes if n.op == "call_module"]
    assert order == [nn.ReLU, nn.MaxPool2d]


def both(x):
    return F.max_pool2d(x, 2).mean() + x.mean()


def test_normalising_twice_changes_nothing():
    gm = normalise(trace(Nested()))
    before = str(gm.graph)
    assert str(normalise(gm).graph) == before
    assert isinstance(gm, fx.GraphModule)

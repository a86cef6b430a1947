"""What is written of a network, and what is refused."""

import operator

import numpy as np
import pytest
import torch
from torch import nn

from sj_convert import BurstIFNode, SignedIFNode
from sj_core import functional, layer, neuron

# Not `nir` alone: without it this folder would be taken for a package of that name.
pytest.importorskip("nir.ir", reason="needs the extra sj-convert[nir]")

from sj_convert.nir import from_nir, to_nir


class DampedIF(neuron.IFNode):
    def neuronal_charge(self, x):
        return 0.5 * self.v + x


@pytest.fixture
def x():
    return torch.rand(20, 3, 5, generator=torch.Generator().manual_seed(0)) * 3


def test_step_mode_and_state_of_the_net_are_left_alone(x):
    net = nn.Sequential(layer.Linear(5, 6), neuron.LIFNode())
    functional.set_step_mode(net, "m")
    net(x)
    v = net[1].v.clone()
    graph = to_nir(net, x)
    assert torch.equal(net[1].v, v)
    assert net[0].step_mode == "m"
    assert graph.nodes["input"].output_type["output"].tolist() == [5]


def test_what_nir_cannot_say(x):
    cases = [
        (nn.Sequential(nn.Linear(5, 5), nn.Tanh()), r"`1` \(Tanh\) at .*does not express"),
        (nn.Sequential(nn.MaxPool1d(2)), "MaxPool1d"),
        (nn.Sequential(neuron.CUBALIFNode(v_decay=1.0)), "infinite time constant"),
        (nn.Sequential(neuron.QIFNode()), "QIFNode"),
        (nn.Sequential(neuron.PSN(T=4)), "without steps, which NIR does not express: .*PSN"),
    ]
    for net, match in cases:
        with pytest.raises(ValueError, match=match) as caught:
            to_nir(net, x[0])
        assert str(caught.value).endswith(".")
    conv = nn.Sequential(nn.Conv2d(1, 1, 3, padding=1, padding_mode="circular"))
    with pytest.raises(ValueError, match="padding_mode"):
        to_nir(conv, torch.rand(1, 1, 4, 4))
    with pytest.raises(ValueError, match=r"`0` \(Linear\) at .*shape \[3, 4\].*flatten before it"):
        to_nir(nn.Sequential(nn.Linear(4, 2)), torch.rand(1, 3, 4))
    with pytest.raises(TypeError, match=r"`sample_input` \(of type NoneType\)"):
        to_nir(conv, None)
    with pytest.raises(ValueError, match="`soft_reset`"):
        to_nir(nn.Sequential(nn.Linear(5, 5)), x[0], soft_reset="hard")
    for bad, error in ((0, ValueError), (-1.0, ValueError), ("1", TypeError)):
        with pytest.raises(error, match="`dt`"):
            to_nir(nn.Sequential(nn.Linear(5, 5)), x[0], bad)


def test_a_network_may_be_a_single_module(x):
    for net in (nn.Linear(5, 2), layer.Linear(5, 2), neuron.LIFNode(), neuron.IFNode()):
        graph = to_nir(net, x[0])
        name = type(net).__name__.lower()
        assert list(graph.nodes) == ["input", name, "output"]
        back = from_nir(graph)
        for step in x:
            assert torch.equal(back(step), net(step))
        functional.reset_net(net)
    with pytest.raises(ValueError, match=r"`lstm` \(LSTM\) at the network itself"):
        to_nir(nn.LSTM(5, 2), x)


def test_writing_leaves_the_generator_alone():
    net = nn.Sequential(layer.ElementWiseRecurrentContainer(neuron.LIFNode(), operator.add))
    before = torch.get_rng_state()
    to_nir(net, torch.zeros(1, 5))
    assert torch.equal(torch.get_rng_state(), before)
    other = nn.Sequential(layer.ElementWiseRecurrentContainer(neuron.LIFNode(), operator.sub))
    with pytest.raises(ValueError, match="NIR only adds"):
        to_nir(other, torch.zeros(1, 5))


def test_the_package_hands_both_ways_out():
    import sj_convert

    assert sj_convert.to_nir is to_nir
    assert sj_convert.from_nir is from_nir
    with pytest.raises(AttributeError, match="no attribute 'to_onnx'"):
        _ = sj_convert.to_onnx


@pytest.mark.parametrize("node", [SignedIFNode(0.5), BurstIFNode(0.5), DampedIF()])
def test_a_neuron_with_another_step_is_not_taken_for_its_parent(node, x):
    for form in ("error", "metadata", "subgraph"):
        with pytest.raises(ValueError, match=rf"{type(node).__name__}.*does not express"):
            to_nir(nn.Sequential(nn.Linear(5, 6), node), x[0], soft_reset=form)


def test_a_shared_state_is_refused(x):
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc, self.lif = nn.Linear(5, 5), neuron.LIFNode()

        def forward(self, x):
            return self.lif(self.fc(self.lif(self.fc(x))))

    with pytest.raises(ValueError, match=r"calls `lif` \(LIFNode\) 2 times.*a module for each"):
        to_nir(Twice(), x[0])


def test_convolutions_in_a_container_keep_their_own_sizes():
    sub = nn.Sequential(nn.Conv2d(2, 2, 3, padding=2), neuron.LIFNode(), nn.Conv2d(2, 2, 3))
    net = nn.Sequential(layer.ElementWiseRecurrentContainer(sub, operator.add))
    graph = to_nir(net, torch.rand(1, 2, 6, 6))
    sizes = [
        node.output_type["output"].tolist()
        for node in graph.nodes.values()
        if type(node).__name__ == "Conv2d"
    ]
    assert sizes == [[2, 8, 8], [2, 6, 6]]


def test_weights_of_any_dtype_and_none_of_their_memory():
    net = nn.Sequential(nn.Linear(3, 2, dtype=torch.bfloat16), neuron.LIFNode())
    graph = to_nir(net, torch.rand(1, 3, dtype=torch.bfloat16))
    assert np.array_equal(graph.nodes["0"].weight, net[0].weight.detach().double().numpy())
    torch.set_default_dtype(torch.float64)
    try:
        back = from_nir(graph)
    finally:
        torch.set_default_dtype(torch.float32)
    before = graph.nodes["0"].weight.copy()
    with torch.no_grad():
        back.part("0").weight.add_(1)
    assert np.array_equal(graph.nodes["0"].weight, before)

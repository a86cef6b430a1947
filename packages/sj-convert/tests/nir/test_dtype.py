"""A network comes back in the precision that it had."""

import numpy as np
import pytest
import torch
from torch import nn

from sj_convert import Converter, ScaledIFNode
from sj_core import functional, layer, neuron

# Not `nir` alone: without it this folder would be taken for a package of that name.
pytest.importorskip("nir.ir", reason="needs the extra sj-convert[nir]")
import nir

from sj_convert.nir import from_nir, to_nir

T = 200


def run(net, x_seq):
    functional.reset_net(net)
    with torch.no_grad():
        return torch.stack([net(x) for x in x_seq])


def read_back(net, x_seq, tmp_path, **settings):
    """The network of the graph, and of its file."""
    graph = to_nir(net, x_seq[0], **settings)
    nir.write(tmp_path / "graph.nir", graph)
    return [from_nir(graph), from_nir(tmp_path / "graph.nir")]


def parametric(tau):
    node = neuron.ParametricLIFNode()
    with torch.no_grad():
        node.w.fill_(-np.log(tau - 1.0))
    return node


NEURONS = {
    # 2.3000001 is 2.3 in the six digits that float32 would be rounded to.
    "readout": lambda: neuron.NonSpikingLIFNode(2.3000001),
    "readout undecayed": lambda: neuron.NonSpikingLIFNode(7 / 3, decay_input=False),
    "lif": lambda: neuron.LIFNode(2.3000001, v_threshold=0.30000001),
    "plif": lambda: parametric(2.3000001),
    "cuba": lambda: neuron.CUBALIFNode(c_decay=1 / 3, v_decay=0.70000003, v_threshold=0.3),
    "integrator": lambda: neuron.NonSpikingIFNode(),
}


@pytest.mark.parametrize("name", list(NEURONS))
def test_a_float64_network_keeps_twelve_digits(name, tmp_path):
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv1d(2, 3, 3, padding=1, dtype=torch.float64),
        nn.BatchNorm1d(3, dtype=torch.float64),
        NEURONS[name]().double(),
        nn.Flatten(),
        nn.Linear(15, 4, dtype=torch.float64),
        neuron.NonSpikingLIFNode(1.9000001),
    ).eval()
    net[1].running_mean.uniform_(-0.1, 0.1)
    x_seq = torch.randn(T, 2, 2, 5, dtype=torch.float64)
    expected = run(net, x_seq)
    for back in read_back(net, x_seq, tmp_path):
        assert {p.dtype for p in back.parameters()} == {torch.float64}
        torch.testing.assert_close(run(back, x_seq), expected, rtol=1e-12, atol=1e-12)
        again = from_nir(to_nir(back, x_seq[0]))  # a network read is written with its dtype, too
        torch.testing.assert_close(run(again, x_seq), expected, rtol=1e-12, atol=1e-12)


def test_a_float64_conversion_and_a_net_without_parameters(tmp_path):
    torch.manual_seed(0)
    data = torch.rand(20, 5, dtype=torch.float64)
    ann = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3)).double()
    snn = Converter.recommended([data], 8, progress=False)(ann)
    assert any(isinstance(m, ScaledIFNode) for m in snn.modules())
    x_seq = data[:4].expand(T, 4, 5)
    for back in read_back(snn, x_seq, tmp_path, soft_reset="metadata"):
        torch.testing.assert_close(run(back, x_seq), run(snn, x_seq), rtol=1e-12, atol=1e-12)
    bare = nn.Sequential(layer.Delay(2), neuron.NonSpikingLIFNode(3.1))
    for back in read_back(bare, x_seq, tmp_path):
        torch.testing.assert_close(run(back, x_seq), run(bare, x_seq), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_others_come_back_in_the_default_dtype(dtype):
    net = nn.Sequential(nn.Linear(3, 2, dtype=dtype), neuron.LIFNode())
    graph = to_nir(net, torch.zeros(1, 3, dtype=dtype))
    assert not graph.metadata
    assert from_nir(graph).part("0").weight.dtype == torch.float32


def test_mixed_networks_and_arrays_of_numpy_are_no_float64_networks():
    net = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2, dtype=torch.float64))
    net[1].float().register_buffer("unused", torch.zeros(1, dtype=torch.float64))
    assert from_nir(to_nir(net, torch.zeros(1, 3))).part("0").weight.dtype == torch.float32
    weight = np.random.default_rng(0).normal(size=(2, 3))
    graph = nir.NIRGraph.from_list(nir.Linear(weight), nir.Scale(np.full(2, 1 / 3)))
    back = from_nir(graph)
    assert back(torch.ones(1, 3)).dtype == torch.float32
    exact = from_nir(graph, dtype=torch.float64)
    found = exact(torch.ones(1, 3, dtype=torch.float64)).detach().numpy()
    np.testing.assert_allclose(found[0], weight.sum(1) / 3, rtol=1e-14)
    assert torch.equal(back.part("linear").weight, exact.part("linear").weight.float())
    for bad in (torch.int64, "float64", 64):
        with pytest.raises(TypeError, match=r"`dtype` \(=.*must be a floating-point torch\.dtype"):
            from_nir(graph, dtype=bad)


def test_reading_leaves_the_generator_alone():
    graph = to_nir(
        nn.Sequential(nn.Conv1d(2, 3, 1), nn.Flatten(), nn.Linear(3, 2)), torch.zeros(1, 2, 1)
    )
    before = torch.get_rng_state()
    from_nir(graph)
    assert torch.equal(torch.get_rng_state(), before)


def test_time_constants_near_a_round_number():
    """Seven digits are all that a file in float32 has; one in float64 means each of its own."""
    for kind, expected in ((np.float32, 3.0), (np.float64, 3.0000003)):
        tau, one = np.full(2, 3.0000003e-4, dtype=kind), np.ones(2, dtype=kind)
        net = from_nir(nir.NIRGraph.from_list(nir.LIF(tau, one, 0 * one, one)))
        assert net.part("lif").tau == pytest.approx(expected, rel=1e-13)

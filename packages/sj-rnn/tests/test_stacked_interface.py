"""What stacked networks take and give: layouts, dtypes, copies, keys, errors."""

import copy
import pickle

import pytest
import torch
from torch import nn

from sj_core import surrogate
from sj_rnn import SpikingGRU, SpikingGRUCell, SpikingLSTM, SpikingRNNBase

pytestmark = pytest.mark.usefixtures("gates")

KINDS = ["lstm", "gru", "vanilla"]


@pytest.mark.parametrize("kind", KINDS)
def test_batch_first_only_swaps_axes(kind, nets):
    torch.manual_seed(10)
    net = nets.make(kind, 3, 4, 2)
    x = torch.randn(5, 2, 3)
    y, h = net(x, lengths=[5, 2])
    net.batch_first = True
    y2, h2 = net(x.transpose(0, 1), lengths=[5, 2])
    assert torch.equal(y, y2.transpose(0, 1))
    assert torch.equal(nets.as_list(h)[0], nets.as_list(h2)[0])


@pytest.mark.parametrize("kind", KINDS)
def test_no_surrogate_is_shared_between_cells(kind, nets):
    given = surrogate.ATan()
    net = nets.NETS[kind][0](
        3, 4, 3, bidirectional=True, **{nets.KEYWORD.get(kind, "surrogate_function1"): given}
    )
    attribute = nets.KEYWORD.get(kind, "surrogate_function1")
    own = [getattr(c, attribute) for c in [*net.cells, *net.cells_reverse]]
    assert len({id(s) for s in own}) == 6
    assert given not in own
    assert all(isinstance(s, surrogate.ATan) for s in own)


def test_keys_of_the_parameters():
    net = SpikingLSTM(3, 4, 2, bidirectional=True)
    assert "cells.0.linear_ih.weight" in net.state_dict()
    assert "cells_reverse.1.linear_hh.bias" in net.state_dict()
    assert net.cells[1].weight_ih().shape == (16, 8)
    assert isinstance(net.cells, nn.Sequential)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_dtypes(kind, dtype, nets):
    net = nets.make(kind, 3, 4, 2, bidirectional=True).to(dtype)
    y, h = net(torch.randn(3, 2, 3).to(dtype))
    assert y.dtype == dtype
    assert all(s.dtype == dtype for s in nets.as_list(h))
    y.sum().backward()
    assert all(p.grad.dtype == dtype for p in net.parameters())


@pytest.mark.parametrize("kind", KINDS)
def test_autocast(kind, nets):
    net = nets.make(kind, 3, 4, 2, bidirectional=True)
    x = torch.randn(3, 2, 3, requires_grad=True)
    states = nets.states_of(kind, net, 2, torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y, h = net(x, nets.as_argument(states))
        y2, _ = net(x, h)
    assert y.dtype == y2.dtype == torch.bfloat16
    y2.float().sum().backward()
    assert x.grad.dtype == torch.float32
    assert all(p.grad.dtype == torch.float32 for p in net.parameters())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert net.double()(x.double())[0].dtype == torch.float64


@pytest.mark.parametrize("kind", KINDS)
def test_empty_sequences_and_batches(kind, nets):
    net = nets.make(kind, 3, 4, 2, bidirectional=True)
    states = nets.states_of(kind, net, 2, torch.float32)
    y, h = net(torch.randn(0, 2, 3), nets.as_argument(states))
    assert y.shape == (0, 2, 8)
    assert all(torch.equal(a, b) for a, b in zip(nets.as_list(h), states, strict=True))
    y, h = net(torch.randn(5, 0, 3))
    assert y.shape == (5, 0, 8)
    assert nets.as_list(h)[0].shape == (4, 0, 4)
    y, h = net(torch.randn(5, 0, 3), lengths=[])
    assert y.shape == (5, 0, 8)


@pytest.mark.parametrize("kind", KINDS)
def test_deepcopy_and_pickle_after_a_training_forward(kind, nets):
    net = nets.make(kind, 3, 4, 2)
    x = torch.randn(3, 2, 3)
    y, _ = net(x)
    y.sum().backward()
    for other in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert torch.equal(other(x)[0], y)


@pytest.mark.parametrize("kind", KINDS)
def test_bad_states_name_got_and_expected(kind, nets):
    net = nets.make(kind, 3, 4, 2, bidirectional=True)
    count = nets.NETS[kind][1]
    x = torch.randn(5, 2, 3)

    def states(*shape, n=count, dtype=None):
        return tuple(torch.zeros(shape, dtype=dtype) for _ in range(n))

    for shape in ((3, 2, 4), (4, 3, 4), (4, 2, 5), (4, 1, 4)):
        message = rf"has shape \[{shape[0]}, {shape[1]}, {shape[2]}\], expected \[4, 2, 4\]"
        with pytest.raises(ValueError, match=message):
            net(x, states(*shape))
    with pytest.raises(ValueError, match=rf"{count + 1} state tensor\(s\), expected {count}"):
        net(x, states(4, 2, 4, n=count + 1))
    with pytest.raises(TypeError, match=r"torch\.float64"):
        net(x, states(4, 2, 4, dtype=torch.float64))
    net(x, list(states(4, 2, 4)))


def test_bad_input():
    net = SpikingGRU(3, 4, 2)
    with pytest.raises(ValueError, match=r"`x` has shape \[2, 3\], expected \[T, N, input_size\]"):
        net(torch.randn(2, 3))
    with pytest.raises(ValueError, match=r"`x` has shape \[5, 2, 4\]"):
        net(torch.randn(5, 2, 4))
    x = torch.randn(5, 2, 3)
    with pytest.raises(ValueError, match=r"`lengths` has shape \[3\], expected \[2\]"):
        net(x, lengths=[1, 2, 3])
    for bad in ([6, 1], [-1, 2]):
        with pytest.raises(ValueError, match=r"must lie between 0 and the 5 steps"):
            net(x, lengths=bad)
    with pytest.raises(TypeError, match="expected integers"):
        net(x, lengths=[1.0, 2.0])
    with pytest.raises(ValueError, match="`dropout_p`"):
        SpikingGRU(3, 4, 1, dropout_p=1.5)
    with pytest.raises(ValueError, match="`num_layers`"):
        SpikingGRU(3, 4, 0)


def test_a_network_of_one_s_own_cell():
    class Halving(SpikingGRUCell):
        def forward(self, x, h=None):
            return super().forward(x, h) / 2

    class HalvingNet(SpikingRNNBase):
        @staticmethod
        def base_cell():
            return Halving

    torch.manual_seed(15)
    net = HalvingNet(3, 4, 1)
    x = torch.randn(4, 2, 3)
    h = torch.zeros(2, 4)
    want = []
    for t in range(4):
        h = net.cells[0](x[t], h)
        want.append(h)
    y, last = net(x)
    assert torch.equal(y, torch.stack(want))
    assert torch.equal(last[0], h)
    with pytest.raises(NotImplementedError, match="base_cell"):
        SpikingRNNBase(3, 4, 1)

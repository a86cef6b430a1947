"""Attention against its equations written out."""

import copy
import pickle

import pytest
import torch
from torch import nn

from sj_core import functional, layer, neuron


@pytest.mark.parametrize("dimension, shape", [(4, (6, 2, 3, 4, 5)), (2, (6, 2, 7))])
def test_temporal_wise_attention_is_the_equation(dimension, shape):
    torch.manual_seed(0)
    module = layer.TemporalWiseAttention(6, reduction=2, dimension=dimension).double()
    x = torch.randn(shape, dtype=torch.float64)
    w1, w2 = (p.detach() for p in module.parameters())
    assert (w1.shape, w2.shape) == ((3, 6), (6, 3))
    y = module(x)
    for n in range(2):
        average = torch.stack([x[t, n].mean() for t in range(6)])
        largest = torch.stack([x[t, n].max() for t in range(6)])
        scores = w2 @ (w1 @ average).relu() + w2 @ (w1 @ largest).relu()
        for t in range(6):
            torch.testing.assert_close(y[t, n], torch.sigmoid(scores[t]) * x[t, n])


def test_temporal_wise_attention_refuses():
    for arguments in ({"reduction": 7}, {"reduction": 0}, {"reduction": 2, "dimension": 3}):
        with pytest.raises(ValueError, match=r"`(reduction|dimension)`"):
            layer.TemporalWiseAttention(6, **arguments)
    module = layer.TemporalWiseAttention(6, 2)
    for shape in ((6, 2, 3), (5, 2, 3, 4, 4)):
        with pytest.raises(ValueError, match=r"takes \[6, N, C, H, W\]"):
            module(torch.zeros(shape))
    with pytest.raises(ValueError, match="TemporalWiseAttention"):
        functional.set_step_mode(module, "s")
    assert module(torch.zeros(0, 2, 3, 4, 4)).shape == (0, 2, 3, 4, 4)


def make_attention(**kwargs):
    torch.manual_seed(0)
    module = layer.SpikingSelfAttention(8, 2, **kwargs).double()
    for bn in (module.qkv_bn, module.proj_bn):
        nn.init.uniform_(bn.weight, 3, 6)
        nn.init.uniform_(bn.bias, 0, 4)
    return module.eval()


def test_spiking_self_attention_is_the_equation():
    module = make_attention()
    x = (torch.rand(5, 2, 8, 3) < 0.5).double()
    y = module(x)
    twin = copy.deepcopy(module)
    functional.reset_net(twin)
    functional.set_step_mode(twin, "s")
    expected = []
    for step in x:
        h = torch.einsum("oc,ncl->nol", twin.qkv_conv.weight[..., 0], step)
        bn = twin.qkv_bn
        h = h / (1 + bn.eps) ** 0.5 * bn.weight[:, None] + bn.bias[:, None]
        s = twin.qkv_neuron(h)
        q, k, v = s[:, :8], s[:, 8:16], s[:, 16:]
        heads = []
        for i in range(2):
            part = slice(4 * i, 4 * i + 4)
            scores = torch.einsum("nda,ndb->nab", q[:, part], k[:, part])  # queries by keys
            heads.append(torch.einsum("nab,ndb->nda", scores, v[:, part]) * 0.125)
        a = twin.attention_neuron(torch.cat(heads, 1))
        h = torch.einsum("oc,ncl->nol", twin.proj_conv.weight[..., 0], a)
        bn = twin.proj_bn
        h = h / (1 + bn.eps) ** 0.5 * bn.weight[:, None] + bn.bias[:, None]
        expected.append(twin.proj_neuron(h))
    assert torch.equal(y, torch.stack(expected))
    assert 0.05 < y.mean() < 0.95


def test_spiking_self_attention_in_both_modes():
    module = make_attention()
    x = (torch.rand(5, 2, 8, 3) < 0.5).double()
    y = module(x)
    functional.reset_net(module)
    module.step_mode = "s"
    assert module.proj_neuron.step_mode == "s"
    assert torch.equal(torch.stack([module(step) for step in x]), y)


def test_its_neurons():
    module = layer.SpikingSelfAttention(8, 2)
    nodes = [module.qkv_neuron, module.attention_neuron, module.proj_neuron]
    assert [type(n) for n in nodes] == [neuron.LIFNode] * 3
    assert [n.v_threshold for n in nodes] == [1.0, 0.5, 1.0]
    assert all(n.detach_reset and n.tau == 2.0 and n.step_mode == "m" for n in nodes)
    module = layer.SpikingSelfAttention(8, 2, neuron.IFNode, v_reset=None)
    assert isinstance(module.qkv_neuron, neuron.IFNode)
    assert module.qkv_neuron.v_reset is None
    assert layer.SpikingSelfAttention(8, 2, tau=3.0).qkv_neuron.tau == 3.0


def test_spiking_self_attention_refuses():
    with pytest.raises(ValueError, match=r"`dim` \(=8\) must be a multiple of `num_heads` \(=3\)"):
        layer.SpikingSelfAttention(8, 3)
    module = layer.SpikingSelfAttention(8, 2)
    for shape in ((2, 8, 3), (4, 2, 7, 3)):
        with pytest.raises(ValueError, match=r"takes \[T, N, 8, L\]"):
            module(torch.zeros(shape))


def test_copies_after_a_training_forward():
    module = make_attention().train()
    x = torch.rand(3, 2, 8, 4, dtype=torch.float64)
    module(x).sum().backward()
    assert module.qkv_conv.weight.grad.abs().sum() > 0
    for twin in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        functional.reset_net(twin)
        assert twin.eval()(x).shape == x.shape

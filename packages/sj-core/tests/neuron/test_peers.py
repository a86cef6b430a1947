"""Neurons of snnTorch and Norse, as docs/guide/neurons.md writes them, beside theirs."""

import pytest
import torch
from torch import nn

from sj_core import functional, neuron, surrogate

pytestmark = pytest.mark.peer

X = 1.5 * torch.rand(20, 4, 5, generator=torch.Generator().manual_seed(0))


class DelayedNode(neuron.BaseNode):
    """H = beta*V + X - v_threshold*S', with S' the spike of the step before; V = H."""

    def __init__(self, beta, **kwargs):
        super().__init__(step_mode="m", **kwargs)
        self.beta = beta
        self.register_memory("spike", 0.0)

    def neuronal_charge(self, x):
        return self.beta * self.v + x - self.v_threshold * self.spike.detach()

    def neuronal_reset(self, spike):
        self.spike = spike


def filtered(share, last):
    first = neuron.NonSpikingLIFNode(tau=1 / share, decay_input=False, decode=None)
    net = nn.Sequential(first, last)
    functional.set_step_mode(net, "m")
    return net


def stepped(cell, x, *state):
    """Spikes (or voltages) of a cell that hands its state over, and the last of its states."""
    outputs = []
    for step in x:
        output, *state = cell(step, *state)
        outputs.append(output)
    return torch.stack(outputs), state[-1]


def test_snntorch():
    snn = pytest.importorskip("snntorch", reason="compares with snnTorch")
    zero = snn.Leaky(beta=0.8, reset_mechanism="zero")
    lif = neuron.LIFNode(tau=1 / (1 - 0.8), decay_input=False, step_mode="m")
    assert torch.equal(lif(X), stepped(zero, X, zero.init_leaky())[0])

    ours, theirs = X.clone().requires_grad_(), X.clone().requires_grad_()
    leaky = snn.Leaky(beta=0.8, spike_grad=snn.surrogate.atan(alpha=2.0))
    delayed = DelayedNode(0.8, surrogate_function=surrogate.ATan(2.0))
    expected, voltage = stepped(leaky, theirs, leaky.init_leaky())
    spikes = delayed(ours)
    assert torch.equal(spikes, expected)
    assert 0 < spikes.mean() < 1
    torch.testing.assert_close(delayed.v, voltage)
    spikes.sum().backward(), expected.sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad)

    synaptic = snn.Synaptic(alpha=0.7, beta=0.8)
    net = filtered(1 - 0.7, DelayedNode(0.8))
    assert torch.equal(net(X / 2), stepped(synaptic, X / 2, *synaptic.init_synaptic())[0])

    lapicque = snn.Lapicque(R=5.0, C=2.0, time_step=1.0)
    expected = stepped(lapicque, 2 * X, lapicque.init_lapicque())[0]
    assert torch.equal(DelayedNode(1 - 1 / 10)(2 * X / 2.0), expected)


def test_norse():
    norse = pytest.importorskip("norse.torch", reason="compares with Norse")
    net = filtered(0.2, neuron.LIFNode(tau=1 / 0.1))
    spikes, _ = stepped(norse.LIFCell(), 3 * X)
    assert torch.equal(net(3 * X), spikes)
    assert 0 < spikes.mean() < 1
    net = filtered(0.2, neuron.NonSpikingLIFNode(tau=1 / 0.1, decode=None))
    torch.testing.assert_close(net(X), stepped(norse.LICell(), X)[0])

"""Firing rates against spikes counted by hand."""

import pytest
import torch
from torch import nn

from sj_core import functional, layer, monitor, neuron


def test_firing_rates_count_spikes_and_leave_the_net_as_it_was():
    net = nn.Sequential(
        neuron.IFNode(v_reset=None, step_mode="m"), nn.BatchNorm1d(2).train(), nn.Dropout(0.9)
    )
    net[1].eval()
    net.training = True
    net[0](torch.full((1, 3, 2), 0.75))
    x = torch.tensor([0.25, 0.0]).expand(8, 3, 2).contiguous()
    table = monitor.firing_rates(nn.Sequential(net[0]), x)
    assert table["0"] == {"neurons": 2, "rate": 0.125, "spikes": 2.0, "silent": 0.5}
    assert torch.equal(net[0].v, torch.full((3, 2), 0.75))
    assert str(table).splitlines()[0].split() == ["layer", "neurons", "rate", "spikes", "silent"]
    with pytest.raises(ValueError, match="spiking neuron"):
        monitor.firing_rates(nn.Linear(2, 2), torch.zeros(1, 2))


def test_rates_restore_the_training_mode_of_each_module():
    net = nn.Sequential(nn.Linear(2, 2), neuron.IFNode())
    net[0].eval()
    monitor.firing_rates(net, torch.ones(1, 2))
    assert [m.training for m in net.modules()] == [True, False, True, True]
    assert net[1].v == 0.0


def test_a_readout_has_no_firing_rate():
    net = nn.Sequential(neuron.IFNode(), layer.Linear(4, 2), neuron.NonSpikingLIFNode())
    functional.set_step_mode(net, "m")
    assert list(monitor.firing_rates(net, torch.rand(5, 3, 4))) == ["0"]
    with pytest.raises(ValueError, match="must hold a spiking neuron"):
        monitor.firing_rates(net[2], torch.rand(5, 3, 4))

import pytest
import torch
from torch import nn

from sj_core import layer, neuron
from sj_train.fit.spikes import RateMeter, as_sequence, layer_titles, record_spikes, spiking_layers


def network():
    return nn.Sequential(
        layer.Conv2d(1, 2, 1, bias=False, step_mode="m"),
        neuron.IFNode(step_mode="m"),
        layer.Flatten(step_mode="m"),
        neuron.IFNode(v_threshold=2.0, step_mode="m"),
    )


def test_the_rate_is_spikes_over_neurons_and_steps():
    net = network()
    net[0].weight.data.fill_(0.5)
    meter = RateMeter(net)
    net(torch.ones(4, 3, 1, 2, 2))
    # Half a volt a step: layer 1 fires at steps 2 and 4. Its spikes fire layer 2 at step 4 alone.
    assert meter.take().item() == (2 / 4 + 1 / 4) / 2
    assert meter.take().item() == 0.0
    meter.remove()
    for module in net:
        getattr(module, "reset", lambda: None)()
    net(torch.ones(4, 3, 1, 2, 2))
    assert meter.take().item() == 0.0


def test_records_are_the_spikes_of_each_layer():
    net = network()
    with record_spikes(net) as records:
        y = net(torch.rand(4, 3, 1, 2, 2) * 5)
    assert list(records) == ["1", "3"]
    assert torch.equal(as_sequence(records["3"]), y)
    net(torch.rand(4, 3, 1, 2, 2))
    assert len(records["1"]) == 1


@pytest.mark.parametrize("steps", [1, 4])
def test_steps_recorded_one_by_one_are_joined(steps):
    net = nn.Sequential(neuron.IFNode())
    x_seq = 2 * torch.rand(steps, 2, 3)
    with record_spikes(net) as records:
        y_seq = torch.stack([net(x) for x in x_seq])
    assert torch.equal(as_sequence(records["0"]), y_seq)


def test_layers_and_their_titles():
    net = network()
    assert list(spiking_layers(net)) == ["1", "3"]
    assert layer_titles(net) == {"1": "1 conv", "3": "2 conv"}

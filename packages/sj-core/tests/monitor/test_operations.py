"""Operation counts against loops over every weight."""

import itertools

import pytest
import torch
from torch import nn

from sj_core import functional, layer, monitor, neuron


@pytest.mark.parametrize(
    ("stride", "padding", "dilation", "groups"), [(1, 1, 1, 1), (2, 0, 1, 2), (1, 2, 2, 1)]
)
def test_synops_of_a_convolution_by_a_loop_over_every_weight(stride, padding, dilation, groups):
    torch.manual_seed(0)
    conv = layer.Conv2d(2, 4, 3, stride, padding, dilation, groups, bias=False, step_mode="m")
    x = (torch.rand(2, 3, 2, 6, 5) < 0.4).float()
    y = conv(x)
    met = dense = 0
    per_group = 2 // groups
    for t, n, o, i, j in itertools.product(*(range(size) for size in y.shape)):
        group = o // (4 // groups)
        for c, a, b in itertools.product(range(per_group), range(3), range(3)):
            dense += 1
            row, col = i * stride - padding + a * dilation, j * stride - padding + b * dilation
            if 0 <= row < 6 and 0 <= col < 5:
                met += int(x[t, n, group * per_group + c, row, col] != 0)
    table = monitor.synops(conv, x)
    row = table[""]
    assert row["input"] == "spikes"
    assert row["acs"] == pytest.approx(met / 3)
    assert row["dense"] == pytest.approx(dense / 3)
    assert row["energy_pJ"] == pytest.approx(met / 3 * 0.9)


def test_synops_of_values_are_dense_and_the_total_is_the_sum(net_of):
    net = net_of()
    table = monitor.synops(net, torch.rand(5, 2, 4))
    assert table["0"]["input"] == "values"
    assert table["0"]["macs"] == 5 * 4 * 6
    assert table["0"]["energy_pJ"] == pytest.approx(5 * 4 * 6 * 4.6)
    assert table["2"]["input"] == "spikes"
    for column in ("dense", "acs", "macs", "energy_pJ"):
        assert table["total"][column] == pytest.approx(table["0"][column] + table["2"][column])
    with pytest.raises(ValueError, match="convolution or a linear layer"):
        monitor.synops(neuron.IFNode(), torch.zeros(1, 2))


def test_synops_of_a_transposed_convolution_without_padding():
    conv = nn.ConvTranspose1d(2, 3, 4, stride=2)
    x = torch.zeros(1, 2, 5)
    x[0, 0, 1] = x[0, 1, 3] = 2.0
    row = monitor.synops(conv, x)[""]
    assert (row["acs"], row["dense"]) == (2 * 3 * 4, 2 * 5 * 3 * 4)


class Repeats(nn.Module):
    """Takes a static image, and makes the sequence itself."""

    def __init__(self, T):
        super().__init__()
        self.T = T
        self.conv, self.node = layer.Conv2d(2, 4, 3), neuron.IFNode(v_threshold=0.1)
        self.flatten, self.head = layer.Flatten(), layer.Linear(16, 5)

    def forward(self, x):
        first = self.conv(x)
        return self.head(self.flatten(self.node(first.expand(self.T, *first.shape)))).mean(0)


def test_synops_of_a_net_that_repeats_its_input_are_per_sample():
    net = Repeats(T=6)
    functional.set_step_mode(net, "m")
    net.conv.step_mode = "s"
    table = monitor.synops(net, torch.rand(3, 2, 4, 4))
    assert table["conv"]["dense"] == 4 * 2 * 9 * 4  # out, in, kernel, pixels: once
    assert table["head"]["dense"] == 6 * 16 * 5


def test_synops_of_a_net_that_loops_over_time_are_per_sample():
    class Loops(nn.Module):
        def __init__(self):
            super().__init__()
            self.block = nn.Sequential(layer.Linear(4, 3), neuron.IFNode())

        def forward(self, x_seq):
            return functional.multi_step_forward(x_seq, self.block)

    assert monitor.synops(Loops(), torch.rand(6, 2, 4))["block.0"]["dense"] == 6 * 4 * 3


class ByName(nn.Module):
    """Hands the inputs over by name."""

    def __init__(self):
        super().__init__()
        self.fc, self.node = layer.Linear(3, 2), neuron.IFNode(v_threshold=0.1)

    def forward(self, x):
        return self.node(x=self.fc(input=x))


def test_inputs_by_name_count_as_the_others():
    net, x = ByName(), torch.ones(4, 3)
    nn.init.ones_(net.fc.weight)
    nn.init.zeros_(net.fc.bias)
    row = monitor.synops(net, x)["fc"]
    assert (row["input"], row["dense"], row["acs"]) == ("spikes", 6.0, 6.0)
    assert monitor.firing_rates(net, x)["node"]["rate"] == 1.0
    with monitor.InputMonitor(net, layer.Linear) as inputs:
        net(x)
    assert inputs.records[0] is x


@pytest.mark.parametrize("kind", [nn, layer])
def test_an_input_without_a_batch_is_one_sample(kind):
    net = nn.Sequential(kind.Conv2d(3, 4, 2, bias=False), neuron.IFNode())
    x = torch.ones(3, 5, 5)
    row = monitor.synops(net, x)["0"]
    assert row["dense"] == row["acs"] == 4 * 3 * 4 * 16  # out, in, kernel, pixels
    row = monitor.synops(nn.Sequential(kind.Linear(6, 2)), torch.ones(6))["0"]
    assert row["dense"] == row["acs"] == 12


def test_a_layer_that_drops_weights_counts_as_the_linear_one():
    x = (torch.rand(5, 2, 4) < 0.4).float()
    rows = []
    for make in (layer.Linear, layer.DropConnectLinear):
        net = nn.Sequential(make(4, 3, step_mode="m"), neuron.IFNode(step_mode="m"))
        rows.append(monitor.synops(net, x)["0"])
    assert rows[0] == rows[1]
    assert rows[1]["dense"] == 5 * 4 * 3
    assert rows[1]["acs"] == x.sum().item() * 3 / 2

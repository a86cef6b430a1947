"""Monitors against values computed by hand, and counts against loops over every weight."""

import itertools

import pytest
import torch
from torch import nn

from sj_core import functional, layer, monitor, neuron, surrogate


def net_of(step_mode="m"):
    torch.manual_seed(0)
    net = nn.Sequential(
        layer.Linear(4, 6), neuron.LIFNode(), layer.Linear(6, 3), neuron.IFNode(v_threshold=0.4)
    )
    functional.set_step_mode(net, step_mode)
    return net


def test_output_and_input_monitor_record_what_flows():
    net = net_of()
    x = torch.rand(5, 2, 4) * 4
    outputs = monitor.OutputMonitor(net, (neuron.IFNode, neuron.LIFNode))
    inputs = monitor.InputMonitor(net, nn.Linear, torch.Tensor.detach)
    y = net(x)
    assert outputs.monitored_layers == ["1", "3"]
    assert outputs.records[1] is y
    assert outputs["3"][0] is y
    assert torch.equal(inputs["0"][0], x)
    assert torch.equal(inputs["2"][0], outputs["1"][0])
    outputs.disable()
    net(x)
    assert len(outputs) == 2
    outputs.enable()
    outputs.remove_hooks()
    net(x)
    assert len(outputs) == 2
    outputs.clear_recorded_data()
    assert outputs.records == []
    assert outputs["1"] == []


def test_none_monitors_the_class_of_the_net_and_single_steps_are_recorded_each():
    net = net_of("s")
    outputs = monitor.OutputMonitor(net)
    y = [net(x) for x in torch.rand(3, 2, 4)]
    assert outputs.monitored_layers == [""]
    assert all(a is b for a, b in zip(outputs.records, y, strict=True))
    with pytest.raises(ValueError, match="must be the class of a module"):
        monitor.OutputMonitor(net, nn.Conv2d)
    with pytest.raises(KeyError):
        outputs["nothing"]
    with pytest.raises(IndexError):
        outputs[3]


@pytest.mark.parametrize("backend", ["torch", "auto"])
def test_attribute_monitor_sees_v_before_and_after(backend):
    node = neuron.IFNode(backend=backend)
    before = monitor.AttributeMonitor("v", True, node)
    after = monitor.AttributeMonitor("v", False, node, function=torch.Tensor.tolist)
    for x in (0.25, 0.5, 0.5):
        node(torch.tensor([x]))
    assert before.records[0] == 0.0
    assert [v.tolist() for v in before.records[1:]] == [[0.25], [0.75]]
    assert after.records == [[0.25], [0.75], [0.0]]


def test_gradient_monitors_against_the_chain_rule():
    net = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 1, bias=False))
    g_in = monitor.GradInputMonitor(net, nn.Linear)
    g_out = monitor.GradOutputMonitor(net, nn.Linear)
    net(torch.ones(1, 2, requires_grad=True)).sum().backward()
    w0, w1 = net[0].weight.detach(), net[1].weight.detach()
    assert torch.equal(g_out["1"][0], torch.ones(1, 1))
    assert torch.equal(g_out["0"][0], w1)
    assert torch.equal(g_in["1"][0], w1)
    torch.testing.assert_close(g_in["0"][0], w1 @ w0)
    assert torch.equal(g_out.records[0], torch.ones(1, 1))


def test_gradient_of_a_node_is_the_surrogates():
    node = neuron.IFNode(surrogate_function=surrogate.ATan(2.0))
    g_in = monitor.GradInputMonitor(node)
    node(torch.tensor([1.0], requires_grad=True)).backward()
    assert g_in[0].tolist() == [1.0]  # alpha/2 at the threshold


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


def test_synops_of_values_are_dense_and_the_total_is_the_sum():
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


def test_a_readout_has_no_firing_rate():
    net = nn.Sequential(neuron.IFNode(), layer.Linear(4, 2), neuron.NonSpikingLIFNode())
    functional.set_step_mode(net, "m")
    assert list(monitor.firing_rates(net, torch.rand(5, 3, 4))) == ["0"]
    with pytest.raises(ValueError, match="must hold a spiking neuron"):
        monitor.firing_rates(net[2], torch.rand(5, 3, 4))


def test_no_sample_and_no_such_layer_are_named():
    net = net_of()
    for table in (monitor.firing_rates, monitor.synops):
        with pytest.raises(ValueError, match=r"`x` \(shape \(5, 0, 4\)\).*at least one sample"):
            table(net, torch.rand(5, 0, 4))
    with pytest.raises(KeyError, match=r"`key` \(='9'\) must be one of \['1'\]"):
        monitor.OutputMonitor(net, neuron.LIFNode)["9"]

"""Monitors against values computed by hand."""

import copy
import pickle

import pytest
import torch
from torch import nn

from sj_core import monitor, neuron, surrogate


def test_output_and_input_monitor_record_what_flows(net_of):
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


def test_none_monitors_the_class_of_the_net_and_single_steps_are_recorded_each(net_of):
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


@pytest.mark.parametrize("form", [lambda a, b: [a, b], lambda a, b: {"a": a, "b": (b, None)}])
def test_gradients_of_outputs_in_lists_and_dicts(form):
    class Both(nn.Module):
        def forward(self, x):
            return form(2 * x, 3 * x)

    net = Both()
    g_out = monitor.GradOutputMonitor(net)
    y = net(torch.ones(1, requires_grad=True))
    first, second = (y[0], y[1]) if isinstance(y, list) else (y["a"], y["b"][0])
    (5 * first + 7 * second).backward()
    assert sorted(record.item() for record in g_out.records) == [5.0, 7.0]


def test_gradient_of_a_node_is_the_surrogates():
    node = neuron.IFNode(surrogate_function=surrogate.ATan(2.0))
    g_in = monitor.GradInputMonitor(node)
    node(torch.tensor([1.0], requires_grad=True)).backward()
    assert g_in[0].tolist() == [1.0]  # alpha/2 at the threshold


def test_no_sample_and_no_such_layer_are_named(net_of):
    net = net_of()
    for table in (monitor.firing_rates, monitor.synops):
        with pytest.raises(ValueError, match=r"`x` \(shape \(5, 0, 4\)\).*at least one sample"):
            table(net, torch.rand(5, 0, 4))
    with pytest.raises(KeyError, match=r"`key` \(='9'\) must be one of \['1'\]"):
        monitor.OutputMonitor(net, neuron.LIFNode)["9"]


MONITORS = {
    "output": lambda net: monitor.OutputMonitor(net, neuron.BaseNode),
    "input": lambda net: monitor.InputMonitor(net, neuron.BaseNode),
    "attribute": lambda net: monitor.AttributeMonitor("v", False, net, neuron.BaseNode),
    "gradient in": lambda net: monitor.GradInputMonitor(net, neuron.BaseNode),
    "gradient out": lambda net: monitor.GradOutputMonitor(net, neuron.BaseNode),
}


@pytest.mark.parametrize("kind", MONITORS)
@pytest.mark.parametrize("twin", [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))])
def test_a_copy_does_not_write_into_the_records(net_of, kind, twin):
    net = net_of()
    records = MONITORS[kind](net).records
    x = torch.rand(5, 2, 4, requires_grad=True)
    twin(net)(x).sum().backward()
    assert records == []
    net(x).sum().backward()
    assert len(records) == 2


@pytest.mark.parametrize("backend", ["auto", "torch"])
def test_what_a_surrogate_gets_is_recorded_on_every_backend(backend):
    node = neuron.LIFNode(backend=backend, step_mode="m")
    x = torch.rand(5, 2, 3) * 3
    before = node(x), node.resolve_backend(x)
    node.reset()
    with monitor.InputMonitor(node, surrogate.Sigmoid) as inputs:
        assert torch.equal(node(x), before[0])
    v, expected = torch.zeros(2, 3), []
    for step in x:
        h = v + (step - v) / 2.0
        expected.append(h - 1.0)
        v = torch.where(h >= 1.0, 0.0, h)
    torch.testing.assert_close(torch.stack(inputs.records), torch.stack(expected))
    assert node.resolve_backend(x) == before[1]
    node.reset()
    assert torch.equal(node(x), before[0])
    assert len(inputs.records) == 5

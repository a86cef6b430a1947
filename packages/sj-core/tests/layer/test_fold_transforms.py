"""Folded layers under what traces, maps, recomputes or casts them: fx, vmap, compile, export."""

import copy
import pickle

import pytest
import torch
from torch import fx, nn
from torch.utils.checkpoint import checkpoint

from sj_core import functional, layer, neuron


@pytest.mark.parametrize("step_mode", ["s", "m"])
def test_fx_sees_one_node_per_layer(step_mode):
    net = nn.Sequential(
        layer.Conv2d(1, 2, 3), layer.BatchNorm2d(2), layer.MaxPool2d(2), layer.Flatten()
    ).eval()
    functional.set_step_mode(net, step_mode)
    traced = fx.symbolic_trace(net)
    kinds = [node.op for node in traced.graph.nodes]
    assert kinds == ["placeholder", *["call_module"] * 4, "output"]
    x = torch.randn(2, 1, 6, 6) if step_mode == "s" else torch.randn(3, 2, 1, 6, 6)
    assert torch.equal(traced(x), net(x))
    assert torch.equal(pickle.loads(pickle.dumps(traced))(x), net(x))


@pytest.mark.parametrize(
    ("build", "shape"),
    [
        (lambda: layer.MultiStepContainer(nn.Linear(4, 4), neuron.IFNode()), (6, 2, 4)),
        (lambda: layer.StepModeContainer(True, neuron.IFNode(), step_mode="m"), (6, 2, 4)),
        (lambda: layer.TemporalWiseAttention(6, 2, 2), (6, 2, 4)),
        (lambda: layer.SpikingSelfAttention(4, 2).eval(), (6, 2, 4, 3)),
    ],
    ids=["MultiStep", "StepMode", "TemporalWise", "SelfAttention"],
)
def test_a_container_that_loops_and_an_attention_are_one_node(build, shape):
    net = nn.Sequential(build())
    traced = fx.symbolic_trace(net)
    assert [node.op for node in traced.graph.nodes] == ["placeholder", "call_module", "output"]
    x = 2 * torch.rand(shape)
    y = traced(x)
    functional.reset_net(net)
    assert torch.equal(net(x), y)


def test_a_spiking_net_is_traced_to_its_modules():
    net = nn.Sequential(
        layer.Conv2d(1, 2, 3), neuron.LIFNode(), layer.Dropout(), layer.Flatten(), layer.Delay(1)
    )
    functional.set_step_mode(net, "m")
    traced = fx.symbolic_trace(net)
    assert [node.op for node in traced.graph.nodes] == [
        "placeholder",
        *["call_module"] * 5,
        "output",
    ]
    x = 3 * torch.randn(3, 2, 1, 6, 6)
    torch.manual_seed(0)
    y = traced(x)
    functional.reset_net(traced)
    torch.manual_seed(0)
    assert torch.equal(net(x), y)


def test_vmap_over_nets_inputs():
    conv = layer.Conv2d(1, 2, 3, step_mode="m")
    x = torch.randn(5, 4, 2, 1, 6, 6)
    torch.testing.assert_close(torch.vmap(conv)(x), torch.stack([conv(xi) for xi in x]))


def test_checkpointing_gives_the_same_gradient():
    conv = layer.Conv2d(1, 2, 3, step_mode="m")
    x = torch.randn(4, 2, 1, 6, 6, requires_grad=True)
    (expected,) = torch.autograd.grad(conv(x).square().sum(), x)
    y = checkpoint(conv, x, use_reentrant=False)
    (got,) = torch.autograd.grad(y.square().sum(), x)
    assert torch.equal(got, expected)


def test_autocast_reaches_the_layer():
    conv = layer.Conv2d(1, 2, 3, step_mode="m")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert conv(torch.zeros(4, 2, 1, 6, 6)).dtype == torch.bfloat16


@pytest.mark.slow
def test_compile_without_a_graph_break():
    net = nn.Sequential(
        layer.Conv2d(1, 4, 3, step_mode="m"),
        layer.BatchNorm2d(4, step_mode="m"),
        layer.AvgPool2d(2, step_mode="m"),
        layer.Flatten(step_mode="m"),
        layer.Linear(16, 3, step_mode="m"),
    )
    x = torch.randn(3, 2, 1, 6, 6)
    expected = copy.deepcopy(net)(x)
    compiled = torch.compile(net, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), expected)


def test_exported_for_any_number_of_steps_and_samples():
    net = nn.Sequential(
        layer.Conv2d(1, 2, 3), layer.BatchNorm2d(2), layer.Flatten(), layer.Linear(18, 3)
    )
    functional.set_step_mode(net.eval(), "m")
    axes = {0: torch.export.Dim("T", min=2, max=64), 1: torch.export.Dim("N", min=2, max=64)}
    exported = torch.export.export(net, (torch.randn(4, 2, 1, 5, 5),), dynamic_shapes=(axes,))
    x = torch.randn(7, 3, 1, 5, 5)
    torch.testing.assert_close(exported.module()(x), net(x))

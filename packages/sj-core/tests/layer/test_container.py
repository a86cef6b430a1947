"""Containers against the loop over time steps written out."""

import copy
import pickle
from collections import OrderedDict
from typing import NamedTuple

import pytest
import torch
from torch import fx, nn

from sj_core import functional, layer, neuron


def spiking_block():
    torch.manual_seed(1)
    return [nn.Linear(6, 5), neuron.LIFNode(), nn.Linear(5, 4)]


def by_hand(modules, x_seq):
    steps = []
    for x in x_seq:
        for module in modules:
            x = module(x)
        steps.append(x)
    return torch.stack(steps)


def test_multi_step_container_is_a_loop_over_its_children():
    modules = spiking_block()
    x = 3 * torch.randn(7, 2, 6)
    expected = by_hand(copy.deepcopy(modules), x)
    container = layer.MultiStepContainer(*modules)
    assert torch.equal(container(x[:3]), expected[:3])
    assert torch.equal(container(x[3:]), expected[3:])  # the state is carried on
    functional.reset_net(container)
    assert torch.equal(container(x), expected)


def test_seq_to_ann_container_normalises_over_all_steps_at_once():
    torch.manual_seed(1)
    conv, bn = nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3)
    x = torch.randn(4, 2, 2, 6, 6, dtype=torch.float64)
    container = layer.SeqToANNContainer(conv, bn).double()
    y = container(x)
    h = torch.stack([conv(step) for step in x])
    mean = h.mean((0, 1, 3, 4), keepdim=True)
    var = h.var((0, 1, 3, 4), keepdim=True, correction=0)
    torch.testing.assert_close(y, (h - mean) / (var + 1e-5).sqrt())
    torch.testing.assert_close(bn.running_mean, 0.1 * mean.flatten())
    assert bn.num_batches_tracked == 1


@pytest.mark.parametrize("stateful", [True, False])
def test_step_mode_container_has_both_modes(stateful):
    modules = spiking_block() if stateful else [nn.Linear(6, 5), nn.ReLU()]
    x = 3 * torch.randn(7, 2, 6)
    expected = by_hand(copy.deepcopy(modules), x)
    container = layer.StepModeContainer(stateful, *modules)
    assert container.step_mode == "s"
    torch.testing.assert_close(torch.stack([container(step) for step in x]), expected)
    functional.reset_net(container)
    functional.set_step_mode(container, "m")
    torch.testing.assert_close(container(x), expected)
    assert all(getattr(m, "step_mode", "s") == "s" for m in container)


def test_step_mode_container_takes_the_mode_before_the_modules_too():
    container = layer.StepModeContainer(False, "m", nn.Linear(2, 3))
    assert container.step_mode == "m"
    assert len(container) == 1


@pytest.mark.parametrize(
    "kind",
    [
        layer.MultiStepContainer,
        layer.SeqToANNContainer,
        lambda *m: layer.StepModeContainer(True, *m, step_mode="m"),
    ],
)
def test_set_step_mode_does_not_enter(kind):
    container = kind(layer.Linear(6, 6), nn.Sequential(layer.Linear(6, 6)))
    net = nn.Sequential(container, layer.Linear(6, 6))
    functional.set_step_mode(net, "m")
    assert [net[0][0].step_mode, net[0][1][0].step_mode, net[1].step_mode] == ["s", "s", "m"]
    assert net(torch.zeros(3, 2, 6)).shape == (3, 2, 6)


@pytest.mark.parametrize(
    "kind",
    [
        layer.MultiStepContainer,
        layer.SeqToANNContainer,
        lambda m: layer.StepModeContainer(False, m),
    ],
)
def test_a_multi_step_child_is_refused(kind):
    with pytest.raises(ValueError, match=r"`step_mode` \(='m'\) of `0` \(Linear\) must be 's'"):
        kind(layer.Linear(2, 2, step_mode="m"))
    with pytest.raises(ValueError, match=r"of `0\.0`"):
        kind(nn.Sequential(layer.Linear(2, 2, step_mode="m")))


def test_a_childs_mode_flipped_from_outside_is_noticed():
    net = layer.MultiStepContainer(layer.Linear(2, 2), neuron.IFNode())
    for module in net.modules():
        if hasattr(module, "step_mode"):
            module.step_mode = "m"
    with pytest.raises(
        RuntimeError, match=r"of `0` .Linear. must be 's' inside MultiStepContainer"
    ):
        net(torch.zeros(3, 1, 2))


@pytest.mark.parametrize(
    "kind", [layer.SeqToANNContainer, lambda m: layer.StepModeContainer(False, m, step_mode="m")]
)
def test_a_state_is_refused_where_time_is_folded(kind):
    with pytest.raises(ValueError, match=r"`0` .IFNode. keeps a state.*MultiStepContainer"):
        kind(neuron.IFNode())


def test_a_state_added_later_is_noticed():
    net = layer.SeqToANNContainer(nn.Linear(2, 2))
    net.append(neuron.IFNode())
    with pytest.raises(RuntimeError, match=r"`1` .IFNode. keeps a state"):
        net(torch.zeros(3, 1, 2))


def test_bad_arguments():
    with pytest.raises(TypeError, match="`stateful`"):
        layer.StepModeContainer(nn.Linear(2, 2))
    with pytest.raises(ValueError, match="`step_mode`"):
        layer.StepModeContainer(True, nn.Linear(2, 2), step_mode="x")
    with pytest.raises(ValueError, match="`step_mode`"):
        functional.set_step_mode(layer.SeqToANNContainer(nn.Linear(2, 2)), "s")


def test_no_time_step_leaves_every_state():
    net = layer.MultiStepContainer(nn.Linear(6, 4), nn.BatchNorm1d(4), neuron.LIFNode())
    x = torch.randn(2, 3, 6)
    net(x)
    v, mean = net[2].v.clone(), net[1].running_mean.clone()
    y = net(x[:0])
    assert y.shape == (0, 3, 4)
    assert torch.equal(net[2].v, v)
    assert torch.equal(net[1].running_mean, mean)
    assert net.training
    assert net[1].training
    assert layer.SeqToANNContainer(nn.Linear(6, 4))(x[:0]).shape == (0, 3, 4)


def test_they_are_sequentials():
    net = layer.SeqToANNContainer(OrderedDict(a=nn.Linear(2, 3), b=nn.ReLU()))
    assert net.a is net[0]
    assert isinstance(net[:1], layer.SeqToANNContainer)
    net.append(nn.Linear(3, 4))
    assert net(torch.zeros(5, 2, 2)).shape == (5, 2, 4)
    part = layer.StepModeContainer(True, nn.Linear(2, 3), nn.ReLU(), step_mode="m")[:1]
    assert (type(part), part.stateful, part.step_mode) == (layer.StepModeContainer, True, "m")
    assert part(torch.zeros(5, 2, 2)).shape == (5, 2, 3)


def test_copies_and_pickles_after_a_training_forward():
    net = layer.MultiStepContainer(*spiking_block())
    x = torch.randn(3, 2, 6)
    net(x).sum().backward()
    twins = copy.deepcopy(net), pickle.loads(pickle.dumps(net))
    after = net(x)
    for twin in twins:
        assert torch.equal(twin(x), after)


def test_containers_that_are_added_or_repeated_stay_whole():
    fold = layer.SeqToANNContainer(nn.Flatten(), nn.Linear(4, 3))
    steps = layer.MultiStepContainer(nn.Linear(3, 3), neuron.IFNode())
    x = torch.rand(5, 2, 2, 2)
    expected = steps(fold(x))
    whole = nn.Sequential(layer.Linear(3, 3, step_mode="m"))
    for net, y in (
        (fold + steps, expected),
        (nn.Sequential(fold) + steps, expected),
        (fold + steps + whole, whole(expected)),
    ):
        functional.reset_net(net)
        assert torch.equal(net(x), y)
    functional.reset_net(steps)
    twice = steps(steps(x.flatten(2)[..., :3]))
    functional.reset_net(steps)
    assert torch.equal((2 * steps)(x.flatten(2)[..., :3]), twice)


def test_tracing_looks_inside_a_folding_container():
    net = nn.Sequential(layer.SeqToANNContainer(nn.Conv2d(1, 2, 3), nn.ReLU()))
    traced = fx.symbolic_trace(net)
    modules = [
        type(traced.get_submodule(n.target)) for n in traced.graph.nodes if n.op == "call_module"
    ]
    assert modules == [nn.Conv2d, nn.ReLU]
    x = torch.randn(3, 2, 1, 5, 5)
    assert torch.equal(traced(x), net(x))


@pytest.mark.slow
def test_compile_without_a_graph_break():
    net = nn.Sequential(
        layer.SeqToANNContainer(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)),
        layer.MultiStepContainer(nn.ReLU(), nn.Flatten()),
    )
    x = torch.randn(3, 2, 1, 5, 5)
    expected = copy.deepcopy(net)(x)
    compiled = torch.compile(net, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), expected)


class SumAndProduct(nn.Module):
    def forward(self, a, b):
        return Pair(a + b, a * b)


class Pair(NamedTuple):
    sum: torch.Tensor
    product: torch.Tensor


@pytest.mark.parametrize("T", [0, 3])
@pytest.mark.parametrize("stateful", [True, False])
def test_several_sequences_are_the_arguments_of_the_first_child(stateful, T):
    a, b = torch.rand(2, T, 2, 4)
    kinds = [layer.StepModeContainer(stateful, torch.nn.Bilinear(4, 4, 3), step_mode="m")]
    if stateful:
        kinds.append(layer.MultiStepContainer(kinds[0][0], nn.Identity()))
    else:
        kinds.append(layer.SeqToANNContainer(kinds[0][0], nn.Identity()))
    expected = torch.einsum("tni,oij,tnj->tno", a, kinds[0][0].weight, b) + kinds[0][0].bias
    for container in kinds:
        torch.testing.assert_close(container((a, b)), expected)
    single = layer.StepModeContainer(stateful, kinds[0][0])
    for t in range(T):
        torch.testing.assert_close(single((a[t], b[t])), expected[t])


@pytest.mark.parametrize("T", [0, 3])
def test_a_named_tuple_comes_out_as_one(T):
    a, b = torch.rand(2, T, 2, 4)
    out = layer.MultiStepContainer(SumAndProduct())((a, b))
    assert isinstance(out, Pair)
    assert torch.equal(out.product, a * b)

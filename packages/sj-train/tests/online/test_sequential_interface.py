"""What `OTTTSequential` does beside gradients: runs, outputs, memories, errors."""

import copy
import pickle

import pytest
import torch
from torch import nn

from sj_core import functional
from sj_core.neuron import LIFNode
from sj_train.online import OTTTLIFNode, OTTTSequential, SLTTLIFNode


def test_one_run_per_step_of_convolution_and_batch_norm():
    torch.manual_seed(5)
    conv, norm = nn.Conv2d(2, 3, 3, padding=1), nn.BatchNorm2d(3)
    net = OTTTSequential(OTTTLIFNode(), nn.Sequential(conv, norm), OTTTLIFNode(), nn.Flatten())
    calls, hooks, seen = [], [], []
    conv.register_forward_hook(lambda m, i, o: hooks.append("conv"))
    conv.register_forward_hook(lambda m, i, o: seen.append(o.detach().clone()))
    norm.register_forward_hook(lambda m, i, o: hooks.append("norm"))

    class Count(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            calls.append(func.overloadpacket.__name__)
            return func(*args, **(kwargs or {}))

    with Count():
        for _ in range(4):
            net(2 * torch.rand(2, 2, 5, 5))
    assert hooks == ["conv", "norm"] * 4
    assert calls.count("convolution") == 4
    assert sum("batch_norm" in c for c in calls) == 4
    assert norm.num_batches_tracked == 4
    mean = torch.zeros(3)
    for u in seen:
        mean = 0.9 * mean + 0.1 * u.mean((0, 2, 3))
    torch.testing.assert_close(norm.running_mean, mean)


def test_output_is_the_last_spike_alone_and_evaluation_is_plain():
    torch.manual_seed(6)
    net = OTTTSequential(nn.Linear(4, 5), OTTTLIFNode(), nn.Linear(5, 3), OTTTLIFNode())
    plain = nn.Sequential(
        net[0], LIFNode(2.0, False, v_reset=None), net[2], LIFNode(2.0, False, v_reset=None)
    )
    x_seq = 3 * torch.rand(7, 2, 4)
    want = [plain(x) for x in x_seq]
    train = [net(x) for x in x_seq]
    for module in (net, net[1], net[3]):
        module.reset()
    evaluated = [net.eval()(x) for x in x_seq]
    assert torch.stack(want).sum() > 0
    for a, b, c in zip(want, train, evaluated, strict=True):
        assert torch.equal(a, b)
        assert torch.equal(a, c)


def test_parameters_that_no_trace_reaches_are_named():
    class Scale(nn.Module):
        def __init__(self):
            super().__init__()
            self.k = nn.Parameter(torch.ones(3))

        def forward(self, x):
            return self.k * x

    net = OTTTSequential(OTTTLIFNode(), Scale())
    with pytest.warns(UserWarning, match="Scale `1` has parameters"):
        net(torch.rand(2, 3))


def test_other_neurons_take_the_spike():
    net = OTTTSequential(OTTTLIFNode(), SLTTLIFNode(), nn.Linear(3, 2), LIFNode())
    assert net(torch.ones(2, 3)).shape == (2, 2)


def test_a_pair_from_outside():
    torch.manual_seed(10)
    linear = nn.Linear(4, 3).double()
    spike, trace = torch.rand(2, 5, 4, dtype=torch.float64).unbind(0)
    net = OTTTSequential(linear)
    y = net((spike, trace))
    y.sum().backward()
    assert torch.equal(y, linear(spike))
    torch.testing.assert_close(linear.weight.grad, trace.sum(0).expand(3, 4))


def test_memories_reset_copy_and_stay_out_of_the_state_dict():
    net = OTTTSequential(
        nn.Linear(4, 4), OTTTLIFNode(), nn.MaxPool1d(2), nn.Linear(2, 2), input_trace=True
    )
    net(torch.rand(3, 4))
    assert list(net.state_dict()) == ["0.weight", "0.bias", "3.weight", "3.bias"]
    names = dict(net.named_memories())
    assert {"trace_of_input", "trace_of_2", "1.v", "1.trace"} == set(names)
    for twin in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert torch.equal(twin.trace_of_2, net.trace_of_2)
    with pytest.raises(RuntimeError, match="reset_net"):
        net(torch.rand(5, 4))
    net.reset()
    net[1].reset()
    assert net(torch.rand(5, 4)).shape == (5, 2)
    assert isinstance(net[:2], OTTTSequential)
    assert len(net[:2]) == 2


def test_the_state_can_be_given_to_a_fresh_net():
    def make():
        return OTTTSequential(
            nn.Linear(4, 6), OTTTLIFNode(), nn.Sequential(nn.MaxPool1d(2), nn.Linear(3, 2))
        )

    net = make()
    x = 3 * torch.rand(2, 3, 4)
    net(x[0])
    state = functional.get_state(net)
    assert set(state) == {"1.v", "1.trace", "trace_of_2_0"}
    fresh = make()
    fresh.load_state_dict(net.state_dict())
    functional.set_state(fresh, state)
    _, after = functional.functional_forward(make(), state, x[1])
    assert set(after) == set(state)
    for module in (net, fresh):
        module.zero_grad()
        module(x[1]).sum().backward()
    assert torch.equal(net[2][1].weight.grad, fresh[2][1].weight.grad)
    assert functional.get_state(make()) == {}
    appended = make().append(nn.ReLU())
    assert "trace_of_3" in dict(appended.named_memories())


def test_bad_arguments():
    with pytest.raises(ValueError, match="OTTTSequential"):
        OTTTSequential(nn.Linear(2, 2)).step_mode = "m"
    net = OTTTSequential(nn.Linear(2, 2), input_trace=True)
    with pytest.raises(ValueError, match="needs an OTTTLIFNode"):
        net(torch.rand(1, 2))


@pytest.mark.skipif(
    torch.__version__.startswith("2.6."),
    reason="torch 2.6 cannot compile a TorchFunctionMode that looks functions up",
)
def test_compiles_without_a_break_and_once_for_all_steps():
    torch.manual_seed(0)
    net = OTTTSequential(
        *(nn.Conv2d(2, 3, 3, padding=1), nn.BatchNorm2d(3), OTTTLIFNode(), nn.AvgPool2d(2)),
        *(nn.Dropout(0.0), nn.Flatten(), nn.Linear(12, 3), OTTTLIFNode(), nn.Linear(3, 3)),
        input_trace=True,
    ).double()
    plain, graphs = copy.deepcopy(net), []

    def backend(graph, example):
        graphs.append(graph)
        return graph.forward

    compiled = torch.compile(net, backend=backend, fullgraph=True)
    for x in torch.randn(6, 2, 2, 4, 4, dtype=torch.float64):
        y, expected = compiled(x), plain(x)
        torch.testing.assert_close(y, expected)
        for module, value in ((net, y), (plain, expected)):
            value.square().sum().backward()
            functional.detach_net(module)
    for ours, theirs in zip(net.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad)
    # One from reset, where the memories are numbers, and one for every step after it.
    assert len(graphs) == 2

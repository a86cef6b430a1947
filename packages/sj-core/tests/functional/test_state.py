"""The state of a net as a value."""

import copy

import pytest
import torch
from state_cases import make_net
from torch import nn

from sj_core import base, functional, layer, neuron


class Window(base.MemoryModule):
    """Keeps its inputs in a list and counts them."""

    def __init__(self):
        super().__init__()
        self.register_memory("inputs", [])
        self.register_memory("count", 0)

    def single_step_forward(self, x):
        self.inputs.append(x)
        self.count += 1
        return sum(self.inputs) / self.count


def test_names_are_dotted_and_values_the_reset_values():
    net = nn.ModuleDict({"a": make_net(), "b": neuron.IFNode(v_reset=-0.5)})
    assert dict(functional.named_memories(net)) == {"a.1.v": 0.0, "a.3.v": 0.0, "b.v": -0.5}
    assert dict(functional.named_memories(neuron.IFNode())) == {"v": 0.0}
    assert dict(functional.named_memories(nn.Linear(1, 1))) == {}


def test_a_fresh_net_has_no_state_and_a_reset_one_neither():
    net = nn.Sequential(make_net(), layer.Dropout())
    assert functional.get_state(net) == {}
    net(torch.randn(2, 3, dtype=torch.float64))
    assert list(functional.get_state(net)) == ["0.1.v", "0.3.v", "1.mask"]
    functional.reset_net(net)
    assert functional.get_state(net) == {}


def test_a_state_goes_on_where_it_was_read():
    net = make_net()
    x = 3 * torch.randn(10, 2, 3, dtype=torch.float64)
    expected = functional.multi_step_forward(x, net)
    functional.reset_net(net)
    functional.multi_step_forward(x[:4], net)
    state = functional.get_state(net)
    for _ in range(2):  # a state read once can be set again and again
        functional.set_state(net, state)
        assert torch.equal(functional.multi_step_forward(x[4:], net), expected[4:])
    functional.set_state(net, {})
    assert functional.get_state(net) == {}
    functional.set_state(copy.deepcopy(net), state)
    assert functional.get_state(net) == {}


def test_memories_that_the_state_does_not_name_are_reset():
    net = make_net()
    net(torch.ones(2, 3, dtype=torch.float64))
    v = torch.full((2, 4), 0.25)
    functional.set_state(net, {"3.v": v})
    assert net[1].v == 0.0
    assert net[3].v is v


def test_a_state_of_another_net_is_refused_and_nothing_changes():
    net = make_net()
    net(torch.ones(2, 3, dtype=torch.float64))
    v = net[1].v
    with pytest.raises(ValueError, match=r"`state` names `2\.v`, but.*`1\.v`, `3\.v`"):
        functional.set_state(net, {"1.v": torch.zeros(1), "2.v": torch.zeros(1)})
    assert net[1].v is v
    with pytest.raises(TypeError, match="`state`"):
        functional.set_state(net, [1])
    with pytest.raises(ValueError, match="memories of this net are none"):
        functional.set_state(nn.Linear(1, 1), {"v": torch.zeros(1)})


def test_lists_and_counts_are_state_too():
    net = Window()
    for value in (1.0, 3.0):
        net(torch.tensor([value]))
    state = functional.get_state(net)
    assert state["count"] == 2
    net(torch.tensor([100.0]))
    assert len(state["inputs"]) == 2
    functional.set_state(net, state)
    assert net(torch.tensor([5.0])).item() == 3.0
    assert len(state["inputs"]) == 2


@pytest.mark.parametrize("step_mode", ["s", "m"])
def test_functional_forward_is_pure_and_equals_the_stateful_net(step_mode):
    net = make_net(step_mode)
    shape = (2, 3) if step_mode == "s" else (4, 2, 3)
    xs = 3 * torch.randn(5, *shape, dtype=torch.float64)
    net(xs[0])
    before = functional.get_state(net)
    state, outputs = None, []
    for x in xs:
        y, state = functional.functional_forward(net, state, x)
        again, _ = functional.functional_forward(net, None, xs[0])
        outputs.append(y)
    assert torch.equal(again, outputs[0])
    after = functional.get_state(net)
    assert all(after[k] is before[k] for k in before)
    functional.reset_net(net)
    assert torch.equal(torch.stack([net(x) for x in xs]), torch.stack(outputs))
    assert all(torch.equal(v, state[k]) for k, v in functional.get_state(net).items())


def test_functional_forward_leaves_lists_alone():
    net = Window()
    net(torch.tensor([1.0]))
    y, state = functional.functional_forward(net, functional.get_state(net), torch.tensor([3.0]))
    assert y.item() == 2.0
    assert len(state["inputs"]) == 2
    assert len(net.inputs) == 1
    assert net.count == 1


def test_an_error_inside_leaves_the_state():
    net = make_net()
    net(torch.ones(2, 3, dtype=torch.float64))
    v = net[1].v
    with pytest.raises(RuntimeError):
        functional.functional_forward(net, {}, torch.ones(2, 7, dtype=torch.float64))
    assert net[1].v is v


def test_the_record_of_voltages_comes_back_too():
    node = neuron.IFNode(step_mode="m", store_v_seq=True)
    node(torch.full((3, 1), 0.25))
    record = node.v_seq
    functional.functional_forward(node, None, torch.ones(7, 1))
    assert node.v_seq is record


def test_gradient_with_respect_to_the_state_and_the_input():
    node = neuron.LIFNode(tau=2.0, v_threshold=100.0)  # never fires: linear
    state = {"v": torch.tensor([0.5, 1.0], dtype=torch.float64)}
    x = torch.tensor([3.0, 4.0], dtype=torch.float64)

    def voltage(state, x):
        return functional.functional_forward(node, state, x)[1]["v"].sum()

    by_state, by_x = torch.func.grad(voltage, argnums=(0, 1))(state, x)
    # H = V + (X - V) / 2
    torch.testing.assert_close(by_state["v"], torch.full((2,), 0.5, dtype=torch.float64))
    torch.testing.assert_close(by_x, torch.full((2,), 0.5, dtype=torch.float64))
    assert node.v == 0.0

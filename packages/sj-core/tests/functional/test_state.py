"""The state of a net as a value."""

import copy

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

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


def make_net(step_mode="s", dtype=torch.float64):
    torch.manual_seed(0)
    net = nn.Sequential(
        layer.Linear(3, 5), neuron.LIFNode(), layer.Linear(5, 4), neuron.ParametricLIFNode()
    ).to(dtype)
    functional.set_step_mode(net, step_mode)
    return net


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


def test_vmap_over_a_stack_of_states():
    net = make_net()
    x = torch.randn(2, 3, dtype=torch.float64)
    states = []
    for seed in range(3):
        generator = torch.Generator().manual_seed(seed)
        new = functional.functional_forward(
            net, None, torch.randn(2, 3, generator=generator, dtype=torch.float64)
        )[1]
        states.append({k: v.detach() for k, v in new.items()})
    stack = {k: torch.stack([s[k] for s in states]) for k in states[0]}
    run = torch.vmap(lambda s: functional.functional_forward(net, s, x))
    y, new = run(stack)
    for i, state in enumerate(states):
        expected, expected_state = functional.functional_forward(net, state, x)
        torch.testing.assert_close(y[i], expected)
        for k in expected_state:
            torch.testing.assert_close(new[k][i], expected_state[k])
    assert functional.get_state(net) == {}


def test_per_sample_gradients():
    net = make_net()
    params = {k: v.detach() for k, v in net.named_parameters()}
    x = 3 * torch.randn(6, 3, dtype=torch.float64)

    def loss(params, x):
        renamed = {f"net.{k}": v for k, v in params.items()}
        return torch.func.functional_call(wrapper, renamed, (x[None],)).sum()

    class Wrapper(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = net

        def forward(self, x):
            return functional.functional_forward(self.net, None, x)[0]

    wrapper = Wrapper()
    per_sample = torch.vmap(torch.func.grad(loss), in_dims=(None, 0))(params, x)
    for i in range(6):
        net.zero_grad()
        functional.reset_net(net)
        net(x[i : i + 1]).sum().backward()
        for name, p in net.named_parameters():
            torch.testing.assert_close(per_sample[name][i], p.grad)


@pytest.mark.parametrize("use_reentrant", [False, True])
def test_checkpointing_does_not_advance_the_state_twice(use_reentrant):
    net = make_net()
    xs = 3 * torch.randn(4, 2, 3, dtype=torch.float64)

    def sequence(step):
        net.zero_grad()
        functional.reset_net(net)
        x = xs.clone().requires_grad_()
        state, total = {"1.v": x.new_zeros(2, 5), "3.v": x.new_zeros(2, 4)}, 0.0
        for t in range(4):
            y, state["1.v"], state["3.v"] = step(x[t], state["1.v"], state["3.v"])
            total = total + y.sum() * (t + 1)
        total.backward()
        return total.detach(), x.grad, [p.grad.clone() for p in net.parameters()], state

    def plain(x, v1, v3):
        y, new = functional.functional_forward(net, {"1.v": v1, "3.v": v3}, x)
        return y, new["1.v"], new["3.v"]

    def saved(*args):
        return checkpoint(plain, *args, use_reentrant=use_reentrant)

    expected, got = sequence(plain), sequence(saved)
    assert torch.equal(got[0], expected[0])
    torch.testing.assert_close(got[1], expected[1])
    for a, b in zip(got[2], expected[2], strict=True):
        torch.testing.assert_close(a, b)
    assert all(torch.equal(got[3][k], expected[3][k]) for k in got[3])
    assert functional.get_state(net) == {}


@pytest.mark.slow
# torch.compile itself instantiates an autograd.Function that it traces
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
def test_compile_without_a_graph_break_or_recompile():
    net = make_net(dtype=torch.float32)
    functional.set_backend(net, "torch")
    xs = 3 * torch.randn(5, 2, 3)

    def step(state, x):
        return functional.functional_forward(net, state, x)

    compiled = torch.compile(step, fullgraph=True, backend="aot_eager")
    state = expected_state = {"1.v": torch.zeros(2, 5), "3.v": torch.zeros(2, 4)}
    with torch.no_grad():
        for t, x in enumerate(xs):
            expected, expected_state = step(expected_state, x)
            if t == 1:
                torch._dynamo.config.error_on_recompile = True
            try:
                y, state = compiled(state, x)
            finally:
                torch._dynamo.config.error_on_recompile = False
            torch.testing.assert_close(y, expected)
    assert functional.get_state(net) == {}

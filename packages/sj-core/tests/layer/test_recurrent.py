"""Recurrent containers against their recurrences written out."""

import copy
import pickle

import pytest
import torch
from torch import nn

from sj_core import functional, layer, neuron


def run(module, x_seq):
    return module(x_seq) if module.step_mode == "m" else torch.stack([module(x) for x in x_seq])


@pytest.mark.parametrize("step_mode", ["s", "m"])
def test_element_wise(step_mode):
    sub = nn.Sequential(nn.Linear(3, 3), neuron.LIFNode(tau=1.5)).double()
    x = 2 * torch.randn(6, 2, 3, dtype=torch.float64)
    linear, node = copy.deepcopy(sub)
    y, expected = torch.zeros(2, 3, dtype=torch.float64), []
    for step in x:
        y = node(linear(step - 2 * y))
        expected.append(y)
    module = layer.ElementWiseRecurrentContainer(sub, lambda y, x: x - 2 * y, step_mode)
    assert torch.equal(run(module, x), torch.stack(expected))
    functional.reset_net(module)
    assert module.y is None
    assert torch.equal(run(module, x), torch.stack(expected))


def test_element_wise_table():
    module = layer.ElementWiseRecurrentContainer(neuron.IFNode(), torch.add, step_mode="m")
    # v: 0.6, 1.2 fires, 0.6 + 1 fires by its own output fed back, ...
    x = torch.tensor([[0.6], [0.6], [0.6], [0.0], [0.0]])
    assert module(x).flatten().tolist() == [0.0, 1.0, 1.0, 1.0, 1.0]


@pytest.mark.parametrize("step_mode", ["s", "m"])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("between", [(), (3,)])
def test_linear(step_mode, bias, between):
    sub = nn.Sequential(nn.Linear(4, 5), neuron.LIFNode(tau=1.5)).double()
    module = layer.LinearRecurrentContainer(sub, 4, 5, bias, step_mode).double()
    x = 4 * torch.randn(6, 2, *between, 4, dtype=torch.float64)
    linear, node = copy.deepcopy(sub)
    w = module.rc.weight
    y, expected = torch.zeros(2, *between, 5, dtype=torch.float64), []
    for step in x:
        h = step @ w[:, :4].T + y @ w[:, 4:].T + (module.rc.bias if bias else 0.0)
        y = node(linear(h))
        expected.append(y)
    assert w.shape == (4, 9)
    torch.testing.assert_close(run(module, x), torch.stack(expected))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_both_modes_agree_bit_for_bit(dtype):
    torch.manual_seed(0)
    module = layer.LinearRecurrentContainer(
        nn.Sequential(nn.Linear(4, 5), neuron.LIFNode(tau=1.5)), 4, 5
    ).to(dtype)
    x = 4 * torch.randn(6, 2, 4).to(dtype)
    steps = run(module, x)
    functional.reset_net(module)
    functional.set_step_mode(module, "m")
    y = module(x)
    assert torch.equal(y, steps)
    assert y.dtype == dtype
    assert module.sub_module[1].step_mode == "s"


@pytest.mark.parametrize(
    "build",
    [
        lambda sub: layer.ElementWiseRecurrentContainer(sub, torch.add),
        lambda sub: layer.LinearRecurrentContainer(sub, 3, 3),
    ],
)
def test_a_sub_module_in_multi_step_mode_is_refused(build):
    with pytest.raises(ValueError, match=r"`sub_module`.*must be 's'"):
        build(neuron.IFNode(step_mode="m"))
    module = build(neuron.IFNode())
    module.sub_module.step_mode = "m"
    with pytest.raises(RuntimeError, match=r"`sub_module`.*must be 's'"):
        module(torch.zeros(2, 3))


@pytest.mark.parametrize(
    "module",
    [
        layer.ElementWiseRecurrentContainer(neuron.IFNode(), torch.add),
        layer.LinearRecurrentContainer(neuron.IFNode(), 3, 3),
        layer.LinearRecurrentContainer(nn.Linear(3, 5), 3, 5),
    ],
    ids=["element-wise", "linear", "linear-wider"],
)
def test_a_changed_batch_names_the_reset(module):
    kept = module(torch.zeros(4, 3)).shape[1]
    for batch in (1, 2):
        with pytest.raises(RuntimeError, match=rf"\({batch}, 3\).*\(4, {kept}\).*reset_net"):
            module(torch.zeros(batch, 3))
    functional.reset_net(module)
    assert module(torch.zeros(2, 3)).shape == (2, kept)
    functional.reset_net(module)


def test_state_rules():
    module = layer.LinearRecurrentContainer(
        nn.Sequential(nn.Linear(4, 3), neuron.IFNode()), 4, 3, step_mode="m"
    )
    x = torch.randn(5, 2, 4)
    module(x).sum().backward()
    assert set(functional.get_state(module)) == {"y", "sub_module.1.v"}
    assert not any(k == "y" for k in module.state_dict())
    twins = copy.deepcopy(module), pickle.loads(pickle.dumps(module))
    functional.detach_net(module)
    state = functional.get_state(module)
    y = module(x)
    for twin in twins:
        assert torch.equal(twin(x), y)
    functional.set_state(module, state)
    assert module(x[:0]).shape == (0, 2, 3)
    assert torch.equal(module.sub_module[1].v, state["sub_module.1.v"])
    assert torch.equal(module(x), y)


def test_it_must_be_a_function():
    with pytest.raises(TypeError, match="`element_wise_function`"):
        layer.ElementWiseRecurrentContainer(neuron.IFNode(), "add")
    module = layer.ElementWiseRecurrentContainer(neuron.IFNode(), torch.add)
    assert "element_wise_function=add" in repr(module)

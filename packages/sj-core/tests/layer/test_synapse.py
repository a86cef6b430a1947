"""The synapse filter against its equation written out in float64."""

import copy
import math
import pickle

import pytest
import torch
from hypothesis import given, settings, strategies as st

from sj_core import functional, layer


def reference(x_seq, tau):
    y, steps = torch.zeros_like(x_seq[0]), []
    for x in x_seq:
        y = y - (1 - x) * y / tau + x
        steps.append(y)
    return torch.stack(steps)


def run(module, x_seq):
    return module(x_seq) if module.step_mode == "m" else torch.stack([module(x) for x in x_seq])


@pytest.mark.parametrize("step_mode", ["s", "m"])
@pytest.mark.parametrize("learnable", [False, True])
@given(
    t=st.integers(1, 8),
    shape=st.lists(st.integers(1, 4), min_size=1, max_size=3),
    tau=st.floats(1.1, 200.0),
)
@settings(max_examples=20, deadline=None)
def test_it_is_the_equation(step_mode, learnable, t, shape, tau):
    x = (torch.rand(t, *shape) < 0.4).double()
    module = layer.SynapseFilter(tau, learnable, step_mode).double()
    tolerance = {"rtol": 1e-5, "atol": 1e-6} if learnable else {}  # w is initialised in float32
    torch.testing.assert_close(run(module, x), reference(x, tau), **tolerance)


def test_closed_form_of_a_single_spike_and_of_constant_spikes():
    x = torch.zeros(20, 1, dtype=torch.float64)
    x[0] = 1
    y = layer.SynapseFilter(5.0, step_mode="m")(x)
    expected = torch.tensor([0.8**t for t in range(20)], dtype=torch.float64)
    torch.testing.assert_close(y.flatten(), expected)
    y = layer.SynapseFilter(5.0, step_mode="m")(torch.ones(20, 1))
    assert y.flatten().tolist() == list(range(1, 21))  # a spike suspends the decay


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("learnable", [False, True])
def test_both_modes_agree_bit_for_bit_and_half_keeps_a_float32_state(dtype, learnable):
    x = (torch.rand(30, 2, 3) < 0.3).to(dtype)
    outputs = []
    for step_mode in ("s", "m"):
        module = layer.SynapseFilter(50.0, learnable, step_mode)
        outputs.append(run(module, x))
        assert module.y.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert outputs[0].dtype == dtype
    assert torch.equal(*outputs)
    if not learnable:
        exact = reference(x.double(), 50.0)
        eps = torch.finfo(dtype).eps if dtype.itemsize == 2 else 1e-6
        assert (
            outputs[0].double() - exact
        ).abs().max() <= 1.01 * eps / 2 * exact.abs().max() + 1e-6


@pytest.mark.parametrize("step_mode", ["s", "m"])
def test_gradients_of_input_and_time_constant(step_mode):
    x = torch.rand(6, 2, dtype=torch.float64, requires_grad=True)
    module = layer.SynapseFilter(3.0, True, step_mode).double()

    def total(x, w):
        tau = 1 / w.sigmoid()
        return (reference(x, tau) * torch.arange(1.0, 7.0).double()[:, None]).sum()

    expected = torch.autograd.grad(total(x, module.w), (x, module.w))
    y = (run(module, x) * torch.arange(1.0, 7.0).double()[:, None]).sum()
    got = torch.autograd.grad(y, (x, module.w))
    for a, b in zip(got, expected, strict=True):
        torch.testing.assert_close(a, b)


def test_the_time_constant_is_learned_through_a_sigmoid():
    module = layer.SynapseFilter(tau=4, learnable=True)
    assert module.w.shape == (1,)
    assert module.w.item() == pytest.approx(-math.log(3))
    assert module.tau == pytest.approx(4.0)
    assert "learnable=True" in repr(module)
    assert not list(layer.SynapseFilter().parameters())
    assert layer.SynapseFilter().tau == 100.0


@pytest.mark.parametrize("learnable", [False, True])
def test_bad_time_constants(learnable):
    for tau in (1, 0.5, -3, float("nan")):
        with pytest.raises(ValueError, match=r"`tau` \(=.*\) must be greater than 1\."):
            layer.SynapseFilter(tau, learnable)
    with pytest.raises(TypeError, match="`tau`"):
        layer.SynapseFilter("2")


def test_state_rules():
    module = layer.SynapseFilter(2.0, learnable=True)
    x = torch.ones(4, 3)
    module(x), module(x)
    assert list(module.state_dict()) == ["w"]
    for twin in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert torch.equal(twin.y, module.y)
        assert torch.equal(twin(x), module(x))
        functional.detach_net(module)
        module.y = module.y - 1  # back to before the call above: x = 1 adds exactly 1
    with pytest.raises(RuntimeError, match="reset_net"):
        module(torch.ones(2, 3))
    functional.reset_net(module)
    assert module(torch.ones(2, 3)).tolist() == [[1.0] * 3] * 2
    module.step_mode = "m"
    y = module.y
    assert module(torch.ones(0, 2, 3)).shape == (0, 2, 3)
    assert module.y is y

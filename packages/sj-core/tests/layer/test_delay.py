"""The delay line against shifted sequences."""

import copy
import itertools
import pickle

import pytest
import torch
from hypothesis import given, settings, strategies as st

from sj_core import functional, layer


def shifted(x, steps):
    """By indices, not by the code under test."""
    y = torch.zeros_like(x)
    for t in range(steps, x.shape[0]):
        y[t] = x[t - steps]
    return y


@given(
    t=st.integers(1, 8),
    steps=st.integers(0, 10),
    cuts=st.lists(st.integers(0, 8), max_size=3),
    shape=st.lists(st.integers(1, 3), min_size=1, max_size=3),
    dtype=st.sampled_from([torch.float16, torch.bfloat16, torch.float32, torch.float64]),
)
@settings(max_examples=60, deadline=None)
def test_any_mixture_of_steps_and_sequences_shifts_the_whole(t, steps, cuts, shape, dtype):
    x = torch.randn(t, *shape).to(dtype)
    expected = shifted(x, steps)
    module = layer.Delay(steps)
    assert torch.equal(torch.stack([module(step) for step in x]), expected)
    module = layer.Delay(steps, step_mode="m")
    bounds = sorted({0, t, *(min(c, t) for c in cuts)})
    pieces = [module(x[a:b]) for a, b in itertools.pairwise(bounds)]
    assert torch.equal(torch.cat(pieces), expected)
    assert expected.dtype == pieces[0].dtype
    functional.reset_net(module)
    assert torch.equal(module(x), expected)
    assert torch.equal(functional.delay(x, steps), expected)


def test_gradients_go_back_by_the_delay():
    x = torch.ones(5, 1, requires_grad=True)
    weight = torch.tensor([1.0, 10.0, 100.0, 1000.0, 10000.0])[:, None]
    for step_mode in ("s", "m"):
        module = layer.Delay(2, step_mode)
        y = module(x) if step_mode == "m" else torch.stack([module(step) for step in x])
        (grad,) = torch.autograd.grad((y * weight).sum(), x)
        assert grad.flatten().tolist() == [100.0, 1000.0, 10000.0, 0.0, 0.0]


def test_truncation_cuts_what_is_still_in_the_line():
    x = torch.ones(2, 1, requires_grad=True)
    module = layer.Delay(2, step_mode="m")
    module(x)
    functional.detach_net(module)
    assert not module.queue.requires_grad


def test_the_line_is_its_own_memory():
    x = torch.ones(3, 1)
    module = layer.Delay(1, step_mode="m")
    module(x)
    x.fill_(7.0)
    assert module(torch.zeros(1, 1)).item() == 1.0
    assert module.queue.untyped_storage().nbytes() == 4


def test_bad_delays():
    with pytest.raises(ValueError, match=r"`delay_steps` \(=-1\) must be at least 0\."):
        layer.Delay(-1)
    for value in (1.0, True, None):
        with pytest.raises(TypeError, match="`delay_steps`"):
            layer.Delay(value)
    assert layer.Delay(3).delay_steps == 3


def test_state_rules():
    module = layer.Delay(2)
    weight = torch.ones(1, requires_grad=True)
    module(torch.ones(4, 3) * weight)
    assert not module.state_dict()
    assert module.queue.shape == (2, 4, 3)
    for twin in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert torch.equal(twin.queue, module.queue)
        assert not twin.queue.requires_grad
    with pytest.raises(RuntimeError, match=r"\(2, 3\).*\(4, 3\).*reset_net"):
        module(torch.ones(2, 3))
    module.step_mode = "m"
    queue = module.queue
    assert module(torch.ones(0, 4, 3)).shape == (0, 4, 3)
    assert module.queue is queue
    assert module.double().queue.dtype == torch.float64

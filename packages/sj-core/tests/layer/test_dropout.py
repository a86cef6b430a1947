"""Dropout with one mask per sequence."""

import copy
import pickle

import pytest
import torch

from sj_core import functional, layer


def run(module, x_seq):
    if module.step_mode == "m":
        return module(x_seq)
    return torch.stack([module(x) for x in x_seq])


@pytest.mark.parametrize("step_mode", ["s", "m"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_one_mask_per_sequence_scaled_by_the_kept_share(step_mode, dtype):
    torch.manual_seed(0)
    module = layer.Dropout(0.75, step_mode=step_mode)
    x = torch.rand(5, 8, 100, dtype=dtype) + 1
    y = run(module, x)
    assert y.dtype == dtype
    kept = y[0] != 0
    for t in range(5):
        assert torch.equal(y[t] != 0, kept)
    assert torch.equal(y[:, kept], x[:, kept] * 4)
    assert abs(kept.double().mean().item() - 0.25) < 4 * (0.25 * 0.75 / 800) ** 0.5


@pytest.mark.parametrize("step_mode", ["s", "m"])
def test_reset_draws_anew_and_only_reset(step_mode):
    torch.manual_seed(0)
    module = layer.Dropout(0.5, step_mode=step_mode)
    x = torch.ones(2, 4, 50)
    first, second = run(module, x), run(module, x)
    assert torch.equal(first, second)
    functional.reset_net(module)
    assert module.mask is None
    assert not torch.equal(run(module, x), first)


def test_both_modes_draw_the_same_mask_and_gradient():
    x = torch.randn(3, 4, 5, requires_grad=True)
    results = []
    for step_mode in ("s", "m"):
        torch.manual_seed(3)
        y = run(layer.Dropout(0.5, step_mode=step_mode), x)
        (grad,) = torch.autograd.grad(y.sum(), x)
        results.append((y, grad))
    assert torch.equal(results[0][0], results[1][0])
    assert torch.equal(results[0][1], results[1][1])
    assert set(results[0][1].unique().tolist()) == {0.0, 2.0}


@pytest.mark.parametrize("step_mode", ["s", "m"])
def test_two_dimensional_dropout_drops_whole_channels(step_mode):
    torch.manual_seed(0)
    module = layer.Dropout2d(step_mode=step_mode)
    y = run(module, torch.ones(3, 20, 30, 4, 4))
    sums = y.sum((-1, -2))
    torch.testing.assert_close(sums.unique(), torch.tensor([0.0, 20.0]))
    assert torch.equal(sums[0], sums[2])
    assert abs((sums[0] == 0).double().mean().item() - 0.2) < 4 * (0.2 * 0.8 / 600) ** 0.5
    with pytest.raises(ValueError, match=r"takes \[N, C, H, W\]"):
        layer.Dropout2d()(torch.zeros(2, 3))


def test_eval_is_the_identity_and_draws_nothing():
    module = layer.Dropout(0.5, step_mode="m").eval()
    x = torch.randn(2, 3, 4)
    state = torch.get_rng_state()
    assert torch.equal(module(x), x)
    assert torch.equal(torch.get_rng_state(), state)
    assert module.mask is None


@pytest.mark.parametrize("p, value", [(0, 1.0), (1, 0.0)])
def test_the_ends_of_the_range(p, value):
    assert torch.equal(layer.Dropout(p)(torch.ones(3, 4)), torch.full((3, 4), value))


def test_bad_probabilities():
    for p in (-0.1, 1.5, float("nan")):
        with pytest.raises(ValueError, match=r"`p` \(=.*\) must be in \[0, 1\]"):
            layer.Dropout(p)
    with pytest.raises(TypeError, match="`p`"):
        layer.Dropout("0.5")


def test_a_changed_batch_names_the_reset():
    module = layer.Dropout()
    module(torch.ones(4, 3))
    with pytest.raises(RuntimeError, match=r"\(2, 3\).*\(4, 3\).*functional.reset_net\(net\)"):
        module(torch.ones(2, 3))


def test_no_time_step_draws_no_mask():
    module = layer.Dropout(step_mode="m")
    assert module(torch.ones(0, 4, 3)).shape == (0, 4, 3)
    assert module.mask is None


def test_the_mask_is_a_memory():
    module = layer.Dropout()
    module(torch.ones(4, 3))
    assert "mask" in dict(module.named_memories())
    assert not module.state_dict()
    assert module.double().mask.dtype == torch.float64
    for twin in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert torch.equal(twin.mask, module.mask)

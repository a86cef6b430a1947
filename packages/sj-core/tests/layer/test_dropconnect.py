"""DropConnect: its masks, its sums by hand, its mean in eval mode."""

import math

import pytest
import torch
from torch import nn

from sj_core import functional, layer


@pytest.mark.parametrize("step_mode", ["s", "m"])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("between", [(), (2,)])
def test_each_sample_has_one_mask_per_sequence(step_mode, bias, between):
    torch.manual_seed(0)
    module = layer.DropConnectLinear(5, 4, bias, step_mode=step_mode).double()
    x = torch.randn(3, 6, *between, 5, dtype=torch.float64)
    y = module(x) if step_mode == "m" else torch.stack([module(step) for step in x])
    assert y.shape == (3, 6, *between, 4)
    weight, mask = module.weight, module.mask_w
    assert set(mask.unique().tolist()) == {0.0, 1.0}
    assert not torch.equal(mask[0], mask[1])
    for t in range(3):
        for n in range(6):
            expected = x[t, n] @ (weight * mask[n]).T
            if bias:
                expected = expected + module.bias * module.mask_b[n]
            torch.testing.assert_close(y[t, n], expected)


def test_reset_draws_new_masks_and_only_reset():
    torch.manual_seed(0)
    module = layer.DropConnectLinear(20, 10, step_mode="m")
    x = torch.ones(2, 4, 20)
    first = module(x)
    assert torch.equal(module(x), first)
    functional.reset_net(module)
    assert not torch.equal(module(x), first)


def test_a_fresh_mask_at_every_step_if_asked():
    torch.manual_seed(0)
    module = layer.DropConnectLinear(20, 10, invariant=False, step_mode="m")
    y = module(torch.ones(3, 4, 20))
    assert not torch.equal(y[0], y[1])


@pytest.mark.parametrize("p", [0.0, 0.3, 1.0])
def test_the_share_of_dropped_weights(p):
    torch.manual_seed(0)
    module = layer.DropConnectLinear(50, 40, p=p)
    module(torch.ones(10, 50))
    dropped = 1 - module.mask_w.mean().item()
    assert abs(dropped - p) <= 4 * math.sqrt(p * (1 - p) / 20000)


def test_gradients_reach_only_kept_weights():
    module = layer.DropConnectLinear(6, 5, step_mode="m")
    module(torch.ones(3, 1, 6)).sum().backward()
    assert torch.equal(module.weight.grad, 3 * module.mask_w[0])
    assert torch.equal(module.bias.grad, 3 * module.mask_b[0])


def test_eval_without_activation_is_the_mean_over_masks():
    torch.manual_seed(0)
    module = layer.DropConnectLinear(6, 5, p=0.3, step_mode="m").double()
    x = torch.randn(2, 4, 6, dtype=torch.float64)
    linear = nn.functional.linear(x, module.weight, module.bias)
    torch.testing.assert_close(module.eval()(x), 0.7 * linear)


def test_eval_with_activation_is_the_mean_of_a_rectified_gaussian():
    torch.manual_seed(0)
    module = layer.DropConnectLinear(
        6, 5, p=0.4, samples_num=100_000, activation=nn.ReLU(), step_mode="s"
    ).double()
    x = torch.randn(3, 6, dtype=torch.float64)
    y = module.eval()(x)
    w, b = module.weight.detach(), module.bias.detach()
    mu = 0.6 * (x @ w.T + b)
    s = (0.24 * (x.square() @ w.square().T + b.square())).sqrt()
    z = mu / s
    density = (-z.square() / 2).exp() / math.sqrt(2 * math.pi)
    expected = mu * 0.5 * (1 + torch.erf(z / math.sqrt(2))) + s * density
    assert (y - expected).abs().max() < 5 * s.max() / math.sqrt(100_000)


def test_activation_in_training():
    module = layer.DropConnectLinear(6, 5, activation=nn.ReLU(), step_mode="m")
    assert module(torch.randn(3, 8, 6)).min() == 0.0


def test_bad_arguments_and_shapes():
    with pytest.raises(ValueError, match=r"`p` \(=1.5\)"):
        layer.DropConnectLinear(2, 3, p=1.5)
    with pytest.raises(TypeError, match="`p`"):
        layer.DropConnectLinear(2, 3, p=None)
    with pytest.raises(ValueError, match="`samples_num`"):
        layer.DropConnectLinear(2, 3, samples_num=0)
    module = layer.DropConnectLinear(2, 3)
    with pytest.raises(ValueError, match=r"\[4, 5\].*takes \[N, \*, 2\]"):
        module(torch.zeros(4, 5))
    module.step_mode = "m"
    with pytest.raises(ValueError, match=r"\[4, 2\].*takes \[T, N, \*, 2\]"):
        module(torch.zeros(4, 2))
    module(torch.zeros(3, 4, 2))
    with pytest.raises(RuntimeError, match="reset_net"):
        module(torch.zeros(3, 5, 2))
    functional.reset_net(module)
    assert module(torch.zeros(0, 5, 2)).shape == (0, 5, 3)
    assert module.mask_w is None


def test_it_starts_as_linear_does():
    torch.manual_seed(3)
    ours = layer.DropConnectLinear(7, 5)
    torch.manual_seed(3)
    theirs = nn.Linear(7, 5)
    assert torch.equal(ours.weight, theirs.weight)
    assert torch.equal(ours.bias, theirs.bias)
    assert list(ours.state_dict()) == ["weight", "bias"]


@pytest.mark.parametrize("shape", [(3, 0, 4), (3, 0, 5, 4), (3, 2, 0, 4)])
@pytest.mark.parametrize("invariant", [True, False])
def test_an_empty_batch_gives_an_empty_output(shape, invariant):
    module = layer.DropConnectLinear(4, 6, invariant=invariant, step_mode="m")
    x = torch.zeros(shape, requires_grad=True)
    y = module(x)
    assert y.shape == (*shape[:-1], 6)
    y.sum().backward()
    assert x.grad.shape == shape
    assert module.weight.grad.eq(0).all()

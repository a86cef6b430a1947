"""Normalisations in training: over which axes the statistics run."""

import pytest
import torch
from torch import nn

from sj_core import functional, layer

SHAPES = {1: [(4, 5, 3), (4, 5, 3, 6)], 2: [(4, 5, 3, 6, 2)], 3: [(4, 5, 3, 2, 2, 3)]}
CASES = [(dim, shape) for dim, shapes in SHAPES.items() for shape in shapes]


@pytest.mark.parametrize("dim, shape", CASES)
@pytest.mark.parametrize("momentum", [0.1, None])
def test_batch_norm_in_training_runs_over_time_and_batch(dim, shape, momentum):
    torch.manual_seed(0)
    bn = getattr(layer, f"BatchNorm{dim}d")(3, momentum=momentum, step_mode="m").double()
    nn.init.normal_(bn.weight), nn.init.normal_(bn.bias)
    x = 1 + 2 * torch.randn(shape, dtype=torch.float64)
    channels_last = x.movedim(2, -1).reshape(-1, 3)
    mean = channels_last.mean(0)
    var = (channels_last - mean).square().mean(0)
    expected = (channels_last - mean) / (var + bn.eps).sqrt() * bn.weight + bn.bias
    torch.testing.assert_close(bn(x).movedim(2, -1).reshape(-1, 3), expected)
    count = channels_last.shape[0]
    share = 1.0 if momentum is None else momentum
    torch.testing.assert_close(bn.running_mean, share * mean)
    unbiased = var * count / (count - 1)
    torch.testing.assert_close(bn.running_var, 1 - share + share * unbiased)
    assert bn.num_batches_tracked == 1


def test_batch_norm_in_eval_is_the_same_in_both_modes():
    bn = layer.BatchNorm2d(3, step_mode="m")
    x = torch.randn(4, 5, 3, 6, 2)
    bn(x)
    bn.eval()
    y = bn(x)
    functional.set_step_mode(bn, "s")
    assert torch.equal(functional.multi_step_forward(x, bn), y)


def test_batch_norm_without_running_statistics():
    bn = layer.BatchNorm1d(3, track_running_stats=False, step_mode="m").eval()
    y = bn(torch.randn(4, 5, 3, dtype=torch.float32))
    torch.testing.assert_close(y.mean((0, 1)), torch.zeros(3), atol=1e-6, rtol=0)


def test_group_norm_looks_at_one_step_of_one_sample():
    torch.manual_seed(0)
    norm = layer.GroupNorm(2, 4, step_mode="m").double()
    x = torch.randn(3, 2, 4, 5, dtype=torch.float64)
    y = norm(x)
    for t in range(3):
        for n in range(2):
            for group in (slice(0, 2), slice(2, 4)):
                part = x[t, n, group]
                std = (part.var(correction=0) + norm.eps).sqrt()
                torch.testing.assert_close(y[t, n, group], (part - part.mean()) / std)


def test_eval_mode_keeps_gradients():
    bn = layer.BatchNorm2d(3, step_mode="m").eval()
    x = torch.randn(4, 5, 3, 6, 2, requires_grad=True)
    bn(x).sum().backward()
    torch.testing.assert_close(x.grad, torch.full_like(x, (1 + bn.eps) ** -0.5))
    assert bn.weight.grad is not None

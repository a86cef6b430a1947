"""tdBN and TEBN against their equations written out in float64."""

import copy
import pickle

import pytest
import torch
from torch import nn

from sj_core import functional, layer

KINDS = {1: (5, 2, 3, 4), 2: (5, 2, 3, 4, 6), 3: (5, 2, 3, 4, 2, 2)}


def normalised(x):
    axes = [0, 1, *range(3, x.dim())]
    mean = x.mean(axes, keepdim=True)
    var = (x - mean).square().mean(axes, keepdim=True)
    return (x - mean) / (var + 1e-5).sqrt(), mean.flatten(), var.flatten()


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_threshold_dependent_norm(dim):
    torch.manual_seed(0)
    module = getattr(layer, f"ThresholdDependentBatchNorm{dim}d")(0.7, 0.5, 3).double()
    x = 2 + 3 * torch.randn(KINDS[dim], dtype=torch.float64)
    expected, mean, var = normalised(x)
    torch.testing.assert_close(module(x), 0.7 * 0.5 * expected)
    count = x.numel() / 3
    torch.testing.assert_close(module.running_mean, 0.1 * mean)
    torch.testing.assert_close(module.running_var, 0.9 + 0.1 * var * count / (count - 1))
    assert isinstance(module, getattr(nn, f"BatchNorm{dim}d"))
    module.reset_parameters()
    assert module.weight.tolist() == [0.35] * 3


def test_threshold_dependent_norm_in_both_modes():
    module = layer.ThresholdDependentBatchNorm2d(1.0, 1.0, 3)
    x = torch.randn(5, 2, 3, 4, 4)
    module(x)
    functional.set_step_mode(module, "s")
    with pytest.raises(RuntimeError, match=r"in training needs step_mode='m'.*net\.eval\(\)"):
        module(x[0])
    module.eval()
    steps = torch.stack([module(step) for step in x])
    functional.set_step_mode(module, "m")
    torch.testing.assert_close(steps, module(x))


def test_threshold_dependent_norm_needs_its_weight():
    with pytest.raises(ValueError, match="`affine`"):
        layer.ThresholdDependentBatchNorm2d(1.0, 1.0, 3, affine=False)


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_temporal_effective_norm(dim):
    torch.manual_seed(0)
    module = getattr(layer, f"TemporalEffectiveBatchNorm{dim}d")(5, 3).double()
    with torch.no_grad():
        module.scale.copy_(torch.randn(5))
        module.weight.normal_()
        module.bias.normal_()
    x = 2 + 3 * torch.randn(KINDS[dim], dtype=torch.float64)
    shape = (1, 1, 3, *[1] * (x.dim() - 3))
    expected, _, _ = normalised(x)
    expected = expected * module.weight.view(shape) + module.bias.view(shape)
    y = module(x)
    for t in range(5):
        torch.testing.assert_close(y[t], module.scale[t] * expected[t])
    assert module.num_batches_tracked == 1


def test_temporal_effective_norm_learns_its_scale():
    module = layer.TemporalEffectiveBatchNorm2d(3, 2)
    assert module.scale.tolist() == [1.0] * 3
    x = torch.randn(3, 4, 2, 5, 5)
    module(x)[1].square().sum().backward()
    assert module.scale.grad[1] > 0
    assert module.scale.grad[[0, 2]].tolist() == [0.0, 0.0]
    assert "scale" in module.state_dict()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_float32_scale_does_not_promote_half_precision(dtype):
    module = layer.TemporalEffectiveBatchNorm2d(3, 2)
    assert module(torch.randn(3, 4, 2, 5, 5).to(dtype)).dtype == dtype


def test_temporal_effective_norm_refuses():
    module = layer.TemporalEffectiveBatchNorm2d(3, 2)
    with pytest.raises(ValueError, match=r"4 time steps.*`T` \(=3\)"):
        module(torch.zeros(4, 1, 2, 5, 5))
    with pytest.raises(ValueError, match=r"takes \[T, N, C, H, W\]"):
        module(torch.zeros(3, 2, 5, 5))
    with pytest.raises(ValueError, match="TemporalEffectiveBatchNorm2d"):
        functional.set_step_mode(module, "s")
    with pytest.raises(ValueError, match="`T`"):
        layer.TemporalEffectiveBatchNorm2d(0, 2)
    with pytest.raises(TypeError, match="`T`"):
        layer.TemporalEffectiveBatchNorm2d(2.0, 2)


@pytest.mark.parametrize(
    "module",
    [layer.ThresholdDependentBatchNorm2d(1.0, 0.5, 3), layer.TemporalEffectiveBatchNorm2d(2, 3)],
    ids=["td", "te"],
)
def test_copies_and_empty_sequences(module):
    x = torch.randn(2, 4, 3, 5, 5)
    module(x)
    mean = module.running_mean.clone()
    assert module(x[:0]).shape == (0, 4, 3, 5, 5)
    assert torch.equal(module.running_mean, mean)
    module.eval()
    for twin in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert torch.equal(twin(x), module(x))
    module.train()

"""Rate coding against its probabilities."""

import pytest
import torch

from sj_core import encoding

FLOATS = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


@pytest.mark.parametrize("dtype", FLOATS)
def test_poisson_rate_is_x_within_five_standard_errors(dtype):
    torch.manual_seed(0)
    x = torch.tensor([0.0, 0.01, 0.3, 0.9, 1.0], dtype=dtype).expand(20000, 5)
    spikes = encoding.PoissonEncoder(step_mode="m")(x)
    assert spikes.dtype == dtype
    assert set(spikes.unique().tolist()) <= {0.0, 1.0}
    p = x[0].double()
    error = (spikes.double().mean(0) - p).abs()
    assert (error <= 5 * (p * (1 - p) / 20000).sqrt()).all()


def test_poisson_follows_the_global_seed_and_refuses_integers():
    x = torch.rand(3, 4)
    torch.manual_seed(1)
    a = encoding.PoissonEncoder()(x)
    torch.manual_seed(1)
    assert torch.equal(a, encoding.PoissonEncoder()(x))
    with pytest.raises(TypeError, match=r"`x` \(dtype torch.int64\).*x.float\(\)"):
        encoding.PoissonEncoder()(torch.ones(2, dtype=torch.int64))
    with pytest.raises(ValueError, match="PoissonEncoder"):
        encoding.PoissonEncoder(step_mode="x")

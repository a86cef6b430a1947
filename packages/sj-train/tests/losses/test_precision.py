"""Every loss in half precision, under autocast and compiled."""

import pytest
import torch
import torch.nn.functional as F

from sj_train.losses import (
    TETLoss,
    firing_rate_loss,
    membrane_mse,
    spike_count_cross_entropy,
    spike_similar_loss,
    temporal_efficient_training_cross_entropy,
    van_rossum_distance,
)

Y = torch.arange(40) % 3
LOSSES = {
    "tet": lambda x: temporal_efficient_training_cross_entropy(x, Y),
    "tet soft": lambda x: temporal_efficient_training_cross_entropy(x, F.one_hot(Y, 3).to(x)),
    "whole tet": lambda x: TETLoss(0.3, 0.7)(x, Y),
    "rate": lambda x: firing_rate_loss(x, 0.001, 0.002),
    "count": lambda x: spike_count_cross_entropy(x, Y),
    "class potentials": lambda x: membrane_mse(x, Y),
    "potentials": lambda x: membrane_mse(x, torch.full_like(x, 0.25)),
    "van rossum": lambda x: van_rossum_distance(x, torch.zeros_like(x), 3.0),
    "similar": lambda x: spike_similar_loss(x.movedim(0, -1), F.one_hot(Y, 3)),
}


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_only_the_result_is_rounded(name, dtype):
    # 40 000 samples and steps at a cross entropy of about 3: their sum has no float16.
    torch.manual_seed(0)
    x = (4 * torch.randn(1000, 40, 3)).to(dtype)
    want = LOSSES[name](x.double())
    got = LOSSES[name](x)
    assert got.dtype == dtype
    ulp = torch.finfo(dtype).eps
    assert got.item() == pytest.approx(want.item(), rel=0.51 * ulp)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_under_autocast_a_loss_is_float32_as_those_of_torch_are(name, dtype):
    torch.manual_seed(1)
    x, w = torch.randn(5, 40, 3), torch.eye(3, requires_grad=True)
    with torch.autocast("cpu", dtype=dtype):
        y = x @ w
        y.retain_grad()
        loss = LOSSES[name](y)
        assert F.mse_loss(y, y).dtype == loss.dtype == torch.float32
    assert loss.item() == pytest.approx(LOSSES[name](y.double()).item(), rel=1e-5)
    # The scale that GradScaler begins with is beyond float16.
    (65536.0 * loss).backward()
    assert y.grad.dtype == dtype
    assert y.grad.isfinite().all()


@pytest.mark.parametrize("name", LOSSES)
def test_compiles_without_a_break(name):
    torch.manual_seed(2)
    x = torch.rand(5, 40, 3)
    compiled = torch.compile(LOSSES[name], fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(x), LOSSES[name](x))

import math

import pytest
import torch

from sj_train.losses import van_rossum_distance


def filtered(train, tau):
    """Sum of exponentials started by each spike, straight from the definition."""
    return [
        sum(train[s] * math.exp(-(t - s) / tau) for s in range(t + 1)) for t in range(len(train))
    ]


@pytest.mark.parametrize("tau", [0.5, 3.0, 40.0])
@pytest.mark.parametrize("shape", [(12, 3, 4), (1, 2), (7, 2, 2, 3)])
def test_by_the_sum_of_exponentials(tau, shape):
    torch.manual_seed(0)
    x = (torch.rand(shape) < 0.3).double()
    y = (torch.rand(shape) < 0.3).double()
    pairs = zip(x.flatten(1).T.tolist(), y.flatten(1).T.tolist(), strict=True)
    distances = [
        sum((f - g) ** 2 for f, g in zip(filtered(a, tau), filtered(b, tau), strict=True)) / tau
        for a, b in pairs
    ]
    want = sum(distances) / len(distances)
    assert van_rossum_distance(x, y, tau).item() == pytest.approx(want, rel=1e-12)
    assert van_rossum_distance(y.bool(), x.bool(), tau).item() == pytest.approx(want, rel=1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_rounds_the_result_alone(dtype):
    # Of a spike at each step the filtered train is a geometric series, whose later terms half
    # precision would not see.
    decay = math.exp(-1 / 50)
    want = sum(((1 - decay ** (t + 1)) / (1 - decay)) ** 2 for t in range(400)) / 50
    got = van_rossum_distance(torch.ones(400, 1, 1, dtype=dtype), torch.zeros(400, 1, 1), 50.0)
    assert got.dtype == torch.float32
    assert got.item() == pytest.approx(want, rel=1e-5)
    got = van_rossum_distance(torch.ones(400, 1, 1, dtype=dtype), torch.zeros(400, 1, 1).bool(), 50)
    assert got.item() == pytest.approx(want, rel=1e-5)
    half = torch.ones(400, 1, 1, dtype=dtype)
    got = van_rossum_distance(half, torch.zeros_like(half), 50.0)
    assert got.dtype == dtype
    assert got.item() == pytest.approx(want, rel=torch.finfo(dtype).eps)


def test_limits_of_the_paper():
    # One spike against none: 1/2 in continuous time, reached as the step becomes short.
    x = torch.zeros(20000, 1, 1, dtype=torch.float64)
    x[0] = 1.0
    assert van_rossum_distance(x, torch.zeros_like(x), 500.0).item() == pytest.approx(0.5, abs=2e-3)
    # Two spikes dt apart: 1 - exp(-dt / tau).
    y = x.roll(300, 0)
    want = 1 - math.exp(-300 / 500)
    assert van_rossum_distance(x, y, 500.0).item() == pytest.approx(want, abs=2e-3)
    assert van_rossum_distance(x, x, 500.0).item() == 0.0


def test_gradient_is_the_finite_difference():
    torch.manual_seed(1)
    x = torch.rand(6, 2, 3, dtype=torch.float64, requires_grad=True)
    y = torch.rand(6, 2, 3, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda a: van_rossum_distance(a, y, 2.5), (x,))
    equal = torch.ones(6, 2, 3, requires_grad=True)
    van_rossum_distance(equal, torch.ones(6, 2, 3), 2.5).backward()
    assert torch.equal(equal.grad, torch.zeros(6, 2, 3))


@pytest.mark.parametrize(
    ("x", "y", "tau", "message"),
    [
        (torch.zeros(3, 2), torch.zeros(3, 2), 0.0, "`tau` (=0.0)"),
        (torch.zeros(3, 2), torch.zeros(3, 1), 1.0, "`target`"),
        (torch.zeros(3), torch.zeros(3), 1.0, "[T, N, *]"),
        (torch.zeros(0, 2), torch.zeros(0, 2), 1.0, "one time step"),
    ],
)
def test_bad_arguments(x, y, tau, message):
    with pytest.raises(ValueError) as info:
        van_rossum_distance(x, y, tau)
    assert message in str(info.value)
    assert str(info.value).endswith(".")

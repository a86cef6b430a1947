"""Max pools over time: sums are exact at every t; gates checked by a loop in plain Python."""

import copy
import pickle

import pytest
import torch
from torch import nn

from sj_convert.pooling import GatedMaxPool, RunningMaxPool, check_max_pool, pool_over_time

POOLS = [
    (lambda: nn.MaxPool1d(3, 2, 1), (10,)),
    (lambda: nn.MaxPool2d(2), (6, 8)),
    (lambda: nn.MaxPool2d((3, 2), (2, 1), (1, 0), ceil_mode=True), (7, 5)),
    (lambda: nn.MaxPool2d(2, dilation=2), (6, 6)),
    (lambda: nn.MaxPool3d(2), (4, 4, 6)),
    (lambda: nn.AdaptiveMaxPool2d(3), (7, 8)),
]
IDS = ["1d", "2d", "odd", "dilated", "3d", "adaptive"]


@pytest.fixture(params=POOLS, ids=IDS)
def case(request):
    build, space = request.param
    x = torch.randn(7, 2, 3, *space, generator=torch.Generator().manual_seed(1))
    return build(), x


def test_running_sum_is_the_pool_of_the_sum_at_every_step(case):
    pool, x = case
    x = x.double()
    y = RunningMaxPool(pool, step_mode="m")(x)
    for t in range(len(x)):
        torch.testing.assert_close(y[: t + 1].sum(0), pool(x[: t + 1].sum(0)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("cls", [RunningMaxPool, GatedMaxPool])
def test_step_modes_agree_bit_for_bit(case, cls, dtype):
    pool, x = case
    x = x.to(dtype)
    one, seq = cls(copy.deepcopy(pool)), cls(copy.deepcopy(pool), step_mode="m")
    a = torch.stack([one(s) for s in x])
    b = torch.cat([seq(x[:3]), seq(x[3:])])
    assert torch.equal(a, b)
    assert a.dtype == dtype
    assert torch.equal(one.total, seq.total)


def test_gate_by_hand():
    x = torch.randint(0, 2, (9, 1, 2, 6), generator=torch.Generator().manual_seed(4)).double()
    y = GatedMaxPool(nn.MaxPool1d(3), step_mode="m")(x)
    for c in range(2):
        for window in range(2):
            counts = [0.0] * 3
            for t in range(9):
                spikes = x[t, 0, c, 3 * window : 3 * window + 3].tolist()
                counts = [n + s for n, s in zip(counts, spikes, strict=True)]
                assert y[t, 0, c, window] == spikes[counts.index(max(counts))]
    assert set(y.unique().tolist()) <= {0.0, 1.0}


@pytest.mark.parametrize("cls", [RunningMaxPool, GatedMaxPool])
def test_state(cls):
    x = torch.rand(4, 2, 3, 6, 6)
    module = cls(nn.MaxPool2d(2), step_mode="m")
    first = module(x)
    twins = [copy.deepcopy(module), pickle.loads(pickle.dumps(module))]
    second = module(x)
    for twin in twins:
        assert torch.equal(twin(x), second)
    assert module.state_dict() == {}
    with pytest.raises(RuntimeError, match="reset_net"):
        module(torch.rand(4, 5, 3, 6, 6))
    module.reset()
    assert module(x[:0]).shape == (0, 2, 3, 3, 3)
    assert torch.equal(module(x), first)


def test_forms():
    assert isinstance(pool_over_time(nn.MaxPool2d(2), "running"), RunningMaxPool)
    assert isinstance(pool_over_time(nn.MaxPool2d(2), "gate"), GatedMaxPool)
    assert type(pool_over_time(nn.MaxPool2d(2), "spikes")) is nn.MaxPool2d
    for bad in ("max", None, 1):
        with pytest.raises(ValueError, match=r"`max_pool` .*'running'.*'gate'"):
            check_max_pool(bad)


@pytest.mark.parametrize("cls", [RunningMaxPool, GatedMaxPool])
def test_gradient_is_that_of_single_steps(case, cls):
    pool, x = case
    x = x.double()
    a, b = x.clone().requires_grad_(), x.clone().requires_grad_()
    one, seq = cls(copy.deepcopy(pool)), cls(copy.deepcopy(pool), step_mode="m")
    weight = torch.arange(1.0, len(x) + 1)
    sum((one(s) * w).sum() for s, w in zip(a.unbind(0), weight, strict=True)).backward()
    y = torch.cat([seq(b[:3]), seq(b[3:])])
    (y.flatten(1).sum(1) * weight).sum().backward()
    torch.testing.assert_close(a.grad, b.grad)
    with torch.no_grad():
        plain = cls(copy.deepcopy(pool), step_mode="m")(x)
    assert torch.equal(plain, y)

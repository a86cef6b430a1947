import math

import pytest
import torch

from sj_train.losses import firing_rate_loss, spike_count_cross_entropy


@pytest.mark.parametrize("shape", [(5, 4, 3), (7, 2), (3, 2, 2, 3)])
@pytest.mark.parametrize(("low", "high"), [(0.2, 0.4), (0.0, 1.0), (0.9, 0.95), (0.5, 0.5)])
def test_firing_rate_loss_by_loop(shape, low, high):
    torch.manual_seed(0)
    spikes = (torch.rand(shape) < 0.3).double()
    trains = spikes.reshape(shape[0] * shape[1], -1).T.tolist()
    want = 0.0
    for train in trains:
        rate = sum(train) / len(train)
        want += max(low - rate, 0.0) ** 2 + max(rate - high, 0.0) ** 2
    got = firing_rate_loss(spikes, low, high)
    assert got.shape == ()
    assert got.item() == pytest.approx(want / len(trains), abs=1e-15)
    assert firing_rate_loss(spikes.bool(), low, high).item() == pytest.approx(
        want / len(trains), abs=1e-6
    )


def test_firing_rate_gradient_pushes_towards_the_band():
    spikes = torch.zeros(4, 5, 2, dtype=torch.float64)
    spikes[:, :, 1] = 1.0
    spikes.requires_grad_()
    firing_rate_loss(spikes, 0.25, 0.5).backward()
    # d/ds of mean_i (low - r_i)^2 with r_i a mean over 20 spikes, two neurons
    want = torch.tensor([-2 * 0.25, 2 * 0.5], dtype=torch.float64) / (20 * 2)
    torch.testing.assert_close(spikes.grad, want.expand(4, 5, 2), rtol=0, atol=1e-15)


@pytest.mark.parametrize("shape", [(6, 4, 3), (5, 2, 4, 3)])
def test_spike_count_cross_entropy_from_its_definition(shape):
    torch.manual_seed(1)
    spikes = (torch.rand(shape) < 0.5).double()
    target = torch.randint(shape[2], (shape[1], *shape[3:]))
    count = spikes.sum(0).movedim(1, -1).reshape(-1, shape[2]).tolist()
    want = sum(
        math.log(sum(math.exp(v) for v in row)) - row[label]
        for row, label in zip(count, target.flatten().tolist(), strict=True)
    ) / len(count)
    assert spike_count_cross_entropy(spikes, target).item() == pytest.approx(want, rel=1e-12)
    assert spike_count_cross_entropy(spikes.bool(), target).item() == pytest.approx(want, rel=1e-5)


def test_counts_that_half_precision_cannot_tell_apart():
    spikes = torch.ones(301, 1, 2, dtype=torch.bfloat16)
    spikes[0, 0, 1] = 0.0
    got = spike_count_cross_entropy(spikes, torch.tensor([0]))
    assert got.dtype == torch.bfloat16
    assert got.item() == pytest.approx(math.log(1 + math.exp(-1)), rel=0.01)
    wanted = torch.tensor([[1.0, 0.0]], dtype=torch.bfloat16)
    assert torch.equal(spike_count_cross_entropy(spikes, wanted), got)


@pytest.mark.parametrize("dtype", [torch.int32, torch.uint8, torch.int16])
def test_classes_of_any_integer_dtype(dtype):
    spikes = (torch.arange(24) % 5 == 0).view(4, 2, 3).double()
    target = torch.tensor([2, 0])
    want = spike_count_cross_entropy(spikes, target)
    assert torch.equal(spike_count_cross_entropy(spikes, target.to(dtype)), want)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: firing_rate_loss(torch.zeros(3, 2), 0.5, 0.4), "`low` (=0.5)"),
        (lambda: firing_rate_loss(torch.zeros(3), 0.1, 0.4), "[T, N, *]"),
        (lambda: firing_rate_loss(torch.zeros(0, 2), 0.1, 0.4), "one time step"),
        (lambda: firing_rate_loss(torch.zeros(2, 0), 0.1, 0.4), "one sample"),
        (lambda: firing_rate_loss(torch.zeros(2, 3, 0), 0.1, 0.4), "leave out a layer"),
        (lambda: spike_count_cross_entropy(torch.zeros(3, 2), torch.zeros(2)), "[T, N, C, *]"),
        (lambda: spike_count_cross_entropy(torch.zeros(3, 2, 4), torch.zeros(3)), "`target`"),
        (lambda: spike_count_cross_entropy(torch.zeros(3, 2, 4), torch.zeros(2)), "as integers"),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError) as info:
        call()
    assert message in str(info.value)
    assert str(info.value).endswith(".")

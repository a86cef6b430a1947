import pytest
import torch
import torch.nn.functional as F

from sj_train.fit.meter import EpochMeter


def test_means_over_unequal_batches_are_means_over_samples():
    torch.manual_seed(0)
    logits, target = torch.randn(23, 5, dtype=torch.float64), torch.randint(5, (23,))
    rates = torch.rand(23)
    meter = EpochMeter()
    for part in (slice(0, 10), slice(10, 20), slice(20, 23)):
        loss = F.cross_entropy(logits[part], target[part])
        meter.add(loss, logits[part], target[part], rates[part].mean())
    means = meter.means()
    assert means["loss"] == pytest.approx(F.cross_entropy(logits, target).item(), rel=1e-12)
    assert means["accuracy"] == (logits.argmax(1) == target).sum().item() / 23
    assert means["rate"] == pytest.approx(rates.mean().item(), rel=1e-6)


def test_sums_over_processes_count_every_sample_once():
    ones, zeros = torch.tensor([0, 0, 0]), torch.tensor([1])
    logits = torch.tensor([[1.0, 0.0]])
    first, second, empty = EpochMeter(), EpochMeter(), EpochMeter()
    first.add(torch.tensor(2.0), logits.expand(3, 2), ones, torch.tensor(0.1))
    second.add(torch.tensor(4.0), logits, zeros, torch.tensor(0.5))

    def reduce(value):
        return first.sums + second.sums + empty.sums

    means = empty.means(reduce)
    assert means["loss"] == pytest.approx((3 * 2 + 4) / 4)
    assert means["accuracy"] == pytest.approx(3 / 4)
    assert means["rate"] == pytest.approx((3 * 0.1 + 0.5) / 4)


def test_nothing_counted_gives_nothing():
    assert EpochMeter().means() == {}

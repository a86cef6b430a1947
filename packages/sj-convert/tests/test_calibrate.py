"""Histograms against plain counting, quantiles against torch, the threshold against brute force."""

import pytest
import torch

from sj_convert.calibrate import Histogram, by_channel, mse_threshold, quantile, rate_code


def test_by_channel():
    x = torch.arange(24.0).view(2, 3, 4)
    assert by_channel(x).tolist() == [x[:, c].flatten().tolist() for c in range(3)]


@pytest.mark.parametrize("n", [1, 2, 3, 10, 1001])
@pytest.mark.parametrize("q", [0.001, 0.25, 0.5, 0.999, 1.0])
def test_quantile_is_torchs(n, q):
    rows = torch.rand(3, n, dtype=torch.float64, generator=torch.Generator().manual_seed(n))
    torch.testing.assert_close(quantile(rows, q), torch.quantile(rows, q, dim=1))


def test_histogram_counts_every_value_once_whatever_the_order():
    generator = torch.Generator().manual_seed(0)
    parts = [torch.randn(2, 50, generator=generator) * 10.0**k for k in (-3, 2, 0)]
    parts += [torch.zeros(2, 7)]
    results = []
    for order in (parts, parts[::-1], [parts[i] for i in (2, 0, 3, 1)]):
        histogram = Histogram(2, 64, torch.device("cpu"))
        for part in order:
            histogram.update(part)
        results.append(histogram)
    values = torch.cat(parts, 1).double()
    for histogram in results:
        assert torch.equal(histogram.limit, results[0].limit)
        for row in range(2):
            limit = histogram.limit[row].item()
            assert limit == 2.0 ** values[row].abs().max().log2().ceil().item()
            expected = torch.histc(values[row], 64, -limit, limit)
            assert torch.equal(histogram.counts[row].double(), expected)


def brute(a, T, most):
    """Smallest mean squared error over a fine grid of thresholds, from the values themselves."""
    grid = torch.linspace(0.002, 1.5, 1500, dtype=a.dtype) * a.max()
    k = torch.floor(T * a / grid.unsqueeze(1) + 0.5).clamp(0, most * T)
    return ((k * grid.unsqueeze(1) / T - a) ** 2).mean(1).min()


@pytest.mark.parametrize(("T", "most"), [(1, 1), (4, 1), (8, 3), (32, 1)])
def test_threshold_is_as_good_as_brute_force(T, most):
    generator = torch.Generator().manual_seed(T)
    a = torch.randn(3, 2000, generator=generator, dtype=torch.float64).relu()
    a[1] = a[1] ** 3 * 0.01  # heavy tail, small
    a[2] *= torch.rand(2000, generator=generator) > 0.9  # mostly zero
    for bins in (1 << 11, 1 << 13):
        histogram = Histogram(3, bins, torch.device("cpu"))
        histogram.update(a)
        theta = mse_threshold(histogram, T, most)
        found = ((rate_code(a, theta.unsqueeze(1), T, most) - a) ** 2).mean(1)
        best = torch.stack([brute(row, T, most) for row in a])
        assert (found <= best * 1.03).all(), found / best


def test_threshold_of_a_constant_and_of_silence():
    histogram = Histogram(2, 1 << 14, torch.device("cpu"))
    histogram.update(torch.tensor([[0.0, 0.7, 0.7], [0.0, 0.0, 0.0]]))
    theta = mse_threshold(histogram, 4)
    assert rate_code(torch.tensor(0.7), theta[0], 4).item() == pytest.approx(0.7, rel=1e-3)
    assert theta[1].item() == 0.0


def test_rate_code_by_hand():
    a = torch.tensor([0.0, 0.1, 0.124, 0.126, 0.5, 0.9, 3.0])
    assert rate_code(a, torch.tensor(1.0), 4).tolist() == [0, 0, 0, 0.25, 0.5, 1.0, 1.0]
    assert rate_code(a, torch.tensor(1.0), 4, most=2).tolist() == [0, 0, 0, 0.25, 0.5, 1.0, 2.0]

"""The products against float64, in both libraries and every layout they are called with."""

import pytest
import torch

from sj_rnn import matmul
from sj_rnn.matmul import gram, product, product_plus

needs_onednn = pytest.mark.skipif(
    not torch.backends.mkldnn.is_available(), reason="this torch has no oneDNN"
)


def close(got, want):
    torch.testing.assert_close(got.double(), want, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("work", [1, 10**12])
def test_products(work, monkeypatch):
    monkeypatch.setattr(matmul, "_ONEDNN_WORK", work)
    torch.manual_seed(0)
    a, b, bias = torch.randn(7, 33), torch.randn(33, 21), torch.randn(21)
    exact = a.double() @ b.double()
    for left, right in ((a, b), (a, b.t().contiguous().t()), (a.t().contiguous().t(), b)):
        close(product(left, right), exact)
        close(product_plus(bias, left, right), exact + bias)
        close(product_plus(None, left, right), exact)
        close(gram(left.t(), right), exact)
        assert gram(left.t(), right).is_contiguous()
    wide = torch.randn(7, 66)
    close(product(wide[:, 33:], b), wide[:, 33:].double() @ b.double())


@needs_onednn
def test_the_choice(monkeypatch):
    monkeypatch.setattr(matmul, "_ONEDNN_WORK", 1000)
    a, b = torch.randn(10, 10), torch.randn(10, 10)
    assert matmul.takes_onednn(a, b)
    assert not matmul.takes_onednn(a[:9], b)
    assert not matmul.takes_onednn(a.double(), b.double())
    monkeypatch.setattr(torch.backends.mkldnn, "enabled", False)
    assert not matmul.takes_onednn(a, b)


def test_batches_of_matrices():
    torch.manual_seed(1)
    a, b, bias = torch.randn(2, 7, 5), torch.randn(2, 5, 3), torch.randn(2, 3)
    for d in range(2):
        exact = a[d].double() @ b[d].double()
        close(product(a, b)[d], exact)
        close(product_plus(bias, a, b)[d], exact + bias[d])
        close(gram(a.mT, b)[d], exact)

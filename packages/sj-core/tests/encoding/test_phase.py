"""Phase coding against binary digits."""

import pytest
import torch
from hypothesis import given, settings, strategies as st

from sj_core import encoding


@given(st.integers(1, 12), st.integers(0, 2**31))
@settings(max_examples=40, deadline=None)
def test_weighted_phase_digits_sum_to_x(K, seed):
    x = torch.rand(5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    x = x * (1 - 2.0**-K)
    spikes = encoding.WeightedPhaseEncoder(K).encode(x)
    weights = torch.tensor([2.0 ** -(k + 1) for k in range(K)], dtype=torch.float64)
    value = (spikes * weights[:, None]).sum(0)
    assert (value <= x).all()
    assert (x - value < 2.0**-K).all()


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: encoding.WeightedPhaseEncoder(3).encode(torch.tensor([0.9])), r"1 - 2\^-3"),
    ],
)
def test_bad_values_are_named(build, message):
    with pytest.raises(ValueError, match=message):
        build()

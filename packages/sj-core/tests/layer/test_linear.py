"""The linear layer."""

import torch
from hypothesis import given, settings, strategies as st

from sj_core import layer


@given(
    t=st.integers(0, 4),
    n=st.integers(1, 3),
    between=st.lists(st.integers(1, 3), max_size=2),
    bias=st.booleans(),
    transposed=st.booleans(),
)
@settings(max_examples=30, deadline=None)
def test_every_step_is_multiplied_by_the_same_weight(t, n, between, bias, transposed):
    linear = layer.Linear(3, 2, bias, step_mode="m").double()
    x = torch.randn(t, n, *between, 3, dtype=torch.float64)
    if transposed:
        x = x.transpose(0, 1).contiguous().transpose(0, 1)
    expected = torch.einsum("...i,oi->...o", x, linear.weight)
    if bias:
        expected = expected + linear.bias
    torch.testing.assert_close(linear(x), expected)

"""Latency coding against its equation, and its errors."""

import math

import pytest
import torch

from sj_core import encoding


@pytest.mark.parametrize("T", [1, 2, 7, 200])
@pytest.mark.parametrize("form", ["linear", "log"])
def test_latency_spikes_once_at_the_rounded_time(T, form):
    values = [0.0, 1e-6, 0.1, 0.25, 0.77, 0.999, 1.0]
    train = encoding.LatencyEncoder(T, form).encode(torch.tensor(values, dtype=torch.float64))
    assert train.shape == (T, len(values))
    assert (train.sum(0) == 1).all()
    for i, x in enumerate(values):
        if form == "linear":
            t_f = (T - 1) * (1 - x)
        else:
            t_f = (T - 1) - math.log((math.exp(T - 1) - 1) * x + 1)
        assert abs(int(train[:, i].argmax()) - t_f) <= 0.5 + 1e-6


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: encoding.LatencyEncoder(0), r"`T` \(=0\) must be at least 1\."),
        (lambda: encoding.LatencyEncoder(4, "exp"), r"`enc_function` \(='exp'\)"),
        (lambda: encoding.LatencyEncoder(4).encode(torch.tensor([1.5])), "from 1.5 to 1.5"),
        (lambda: encoding.LatencyEncoder(4).encode(torch.tensor([math.nan])), "between 0 and 1"),
    ],
)
def test_bad_values_are_named(build, message):
    with pytest.raises(ValueError, match=message):
        build()


@pytest.mark.parametrize(
    "build", [lambda: encoding.LatencyEncoder(5), lambda: encoding.WeightedPhaseEncoder(5)]
)
def test_values_that_cannot_be_looked_at_are_encoded_all_the_same(build):
    encoder, x = build(), torch.rand(3, 2, 4) * 0.9
    expected = encoder.encode(x)
    mapped = torch.vmap(encoder.encode, out_dims=1)(x)
    assert torch.equal(mapped, expected)
    compiled = torch.compile(encoder.encode, fullgraph=True, backend="eager")
    assert torch.equal(compiled(x), expected)
    assert encoder.encode(x.to("meta")).shape == expected.shape

"""A train replayed."""

import pytest
import torch

from sj_core import encoding


def test_periodic_replays_and_expands():
    spike = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    encoder = encoding.PeriodicEncoder(spike)
    assert torch.equal(torch.stack([encoder() for _ in range(3)]), spike[[0, 1, 0]])
    encoder.reset()
    assert torch.equal(encoder(torch.zeros(3, 2)), spike[0].expand(3, 2))
    with pytest.raises(ValueError, match=r"`x` \(shape \(3, 5\)\).*\(2,\)"):
        encoder.encode(torch.zeros(3, 5))
    assert encoder.double().encode().dtype == torch.float64


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: encoding.PeriodicEncoder(torch.zeros(0, 3)), "at least one step"),
    ],
)
def test_bad_values_are_named(build, message):
    with pytest.raises(ValueError, match=message):
        build()


@pytest.mark.parametrize("x", [None, torch.zeros(2), torch.zeros(3, 2)])
def test_work_in_place_on_the_train_does_not_reach_the_encoder(x):
    encoder = encoding.PeriodicEncoder(torch.ones(4, 2))
    encoder.encode(x).zero_()
    assert encoder.encode(x).all()
    assert encoder(x).all()

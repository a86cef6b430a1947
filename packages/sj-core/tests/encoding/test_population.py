"""Population coding against the Gaussians of the paper."""

import math

import pytest
import torch

from sj_core import encoding


def test_population_responses_are_the_gaussians_of_the_paper():
    encoder = encoding.PopulationEncoder(T=11, n=6, x_min=-1.0, x_max=3.0, beta=2.0, r_min=0.2)
    x = torch.tensor([[-1.0, 0.0], [2.9, 1.0]], dtype=torch.float64)
    train = encoder.encode(x)
    assert train.shape == (11, 2, 2, 6)
    for index in [(0, 0), (0, 1), (1, 0), (1, 1)]:
        for i in range(1, 7):
            mu = -1.0 + (2 * i - 3) / 2 * 4.0 / 4
            r = math.exp(-((float(x[index]) - mu) ** 2) / (2 * (4.0 / 4 / 2.0) ** 2))
            column = train[(slice(None), *index, i - 1)]
            if r < 0.2:
                assert column.sum() == 0
            else:
                assert column.sum() == 1
                assert int(column.argmax()) == round(10 * (1 - r))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: encoding.PopulationEncoder(4, 2), r"`n` \(=2\) must be at least 3"),
        (lambda: encoding.PopulationEncoder(4, 5, 1.0, 1.0), "`x_max`"),
        (lambda: encoding.PopulationEncoder(4, 5, beta=0.0), "`beta`"),
    ],
)
def test_bad_values_are_named(build, message):
    with pytest.raises(ValueError, match=message):
        build()

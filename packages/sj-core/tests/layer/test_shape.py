"""Flatten and upsample: each step by itself."""

import pytest
import torch

from sj_core import layer


@pytest.mark.parametrize(
    "start, end, expected",
    [
        (1, -1, (7, 2, 60)),
        (0, -1, (7, 120)),
        (2, 3, (7, 2, 3, 20)),
        (0, 1, (7, 6, 4, 5)),
        (-2, -1, (7, 2, 3, 20)),
        (-4, -3, (7, 6, 4, 5)),
        (1, 1, (7, 2, 3, 4, 5)),
    ],
)
def test_flatten_counts_the_axes_of_one_step(start, end, expected):
    x = torch.arange(7 * 120.0).view(7, 2, 3, 4, 5)
    y = layer.Flatten(start, end, step_mode="m")(x)
    assert y.shape == expected
    assert torch.equal(y.flatten(), x.flatten())
    assert y.data_ptr() == x.data_ptr()


def test_flatten_never_reaches_the_time_axis():
    for start, end in ((-5, -1), (4, 4), (1, 4), (0, -5)):
        with pytest.raises(IndexError, match=r"must be in \[-4, 3\]: a step has 4 axes\."):
            layer.Flatten(start, end, step_mode="m")(torch.zeros(7, 2, 3, 4, 5))


def test_upsample_repeats_pixels_not_steps():
    x = torch.tensor([[[[1.0, 2.0]]], [[[3.0, 4.0]]]])
    y = layer.Upsample(scale_factor=2, step_mode="m")(x)
    assert y.flatten().tolist() == [1.0, 1.0, 2.0, 2.0, 3.0, 3.0, 4.0, 4.0]
    assert y.shape == (2, 1, 1, 4)

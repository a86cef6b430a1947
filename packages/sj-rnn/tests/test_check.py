"""Lengths as masks, and what autocast asks for."""

import pytest
import torch

from sj_rnn.check import autocast_dtype, cast, lengths_mask, wide


def test_lengths_mask_by_hand():
    mask = lengths_mask([2, 0, 3], torch.zeros(3, 3, 5))
    assert mask.squeeze(-1).t().tolist() == [
        [True, True, False],
        [False, False, False],
        [True, True, True],
    ]
    assert mask.shape == (3, 3, 1)
    assert lengths_mask(None, torch.zeros(3, 3, 5)) is None


def test_lengths_out_of_range_or_of_another_kind():
    x = torch.zeros(3, 2, 5)
    with pytest.raises(ValueError, match=r"`lengths` \(=\[1, 4\]\) must lie between 0 and the 3"):
        lengths_mask([1, 4], x)
    with pytest.raises(TypeError, match="expected integers"):
        lengths_mask(torch.tensor([True, False]), x)
    with pytest.raises(ValueError, match=r"expected \[2\]"):
        lengths_mask(torch.ones(2, 1, dtype=torch.long), x)


def test_autocast_leaves_float64():
    x = torch.zeros(1)
    assert autocast_dtype(x) is None
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert autocast_dtype(x) == torch.bfloat16
        assert autocast_dtype(x.double()) is None
    assert cast(x, torch.bfloat16).dtype == torch.bfloat16
    assert cast(x.double(), torch.bfloat16).dtype == torch.float64
    assert cast(None, torch.bfloat16) is None


def test_halves_are_widened():
    for dtype, want in (
        (torch.float16, torch.float32),
        (torch.bfloat16, torch.float32),
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
    ):
        assert wide(torch.zeros(1, dtype=dtype)).dtype == want

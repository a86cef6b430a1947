import pytest
import torch

from sj_train.fit.encoders import encode, shift


def test_direct_repeats_the_image():
    x = torch.rand(2, 3, 4, 5)
    x_seq = encode(x, 6, "direct")
    assert x_seq.shape == (6, 2, 3, 4, 5)
    assert all(torch.equal(step, x) for step in x_seq)


def test_poisson_has_the_intensity_as_its_rate():
    torch.manual_seed(0)
    x = torch.tensor([[0.0, 0.2, 0.7, 1.0]])
    x_seq = encode(x, 20000, "poisson")
    assert set(x_seq.unique().tolist()) == {0.0, 1.0}
    # Five standard deviations of the mean of 20,000 Bernoulli draws.
    assert (x_seq.mean(0) - x).abs().max() < 5 * 0.5 / 20000**0.5
    assert x_seq[:, 0, 0].sum() == 0
    assert x_seq[:, 0, 3].sum() == 20000


def test_latency_spikes_once_earlier_for_brighter():
    x = torch.tensor([[1.0, 0.75, 0.5, 0.25, 0.0]])
    x_seq = encode(x, 5, "latency")
    assert torch.equal(x_seq.sum(0), torch.ones(1, 5))
    assert x_seq.argmax(0).tolist() == [[0, 1, 2, 3, 4]]


def test_samples_with_a_time_axis_are_turned():
    x = torch.rand(2, 3, 1, 4, 4)
    assert torch.equal(encode(x, 3, "direct", temporal=True), x.transpose(0, 1))


def test_an_unknown_encoder_is_an_error():
    with pytest.raises(ValueError, match=r"`encoder` \(=rate\)"):
        encode(torch.zeros(1, 1), 2, "rate")


def test_shift_moves_each_sample_as_a_whole_and_fills_with_zeros():
    torch.manual_seed(1)
    x = torch.zeros(64, 2, 8, 8)
    x[:, :, 3, 4] = 1.0
    moved = shift(x, 2)
    offsets = set()
    for before, after in zip(x, moved, strict=True):
        rows, columns = after[0].nonzero()[0].tolist()
        offsets.add((rows - 3, columns - 4))
        expected = torch.roll(before, (rows - 3, columns - 4), (1, 2))
        assert torch.equal(after, expected)
    assert {row for row, _ in offsets} == {-2, -1, 0, 1, 2}
    assert {column for _, column in offsets} == {-2, -1, 0, 1, 2}


def test_shift_lets_zeros_in_at_the_border():
    torch.manual_seed(0)
    moved = shift(torch.ones(200, 1, 4, 4), 1)
    sums = set(moved.sum((1, 2, 3)).tolist())
    assert sums == {16.0, 12.0, 9.0}  # not moved, moved along one axis, along both


def test_shift_works_on_sequences():
    x = torch.rand(3, 5, 2, 6, 6)
    torch.manual_seed(4)
    moved = shift(x, 1)
    torch.manual_seed(4)
    each = torch.stack([shift_like(x[:, t]) for t in range(5)], 1)
    assert torch.equal(moved, each)


def shift_like(x):
    state = torch.get_rng_state()
    moved = shift(x, 1)
    torch.set_rng_state(state)
    return moved

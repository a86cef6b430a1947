import numpy as np
import pytest
import torch

pytest.importorskip("lightning", reason="needs the extra sj-train[fit]")
from sj_train.fit import ConfigError
from sj_train.fit.data.arrays import (
    load_digits,
    load_npz,
    split_arrays,
    stratified_split,
)


def test_split_keeps_the_shares_of_every_class_and_loses_nothing():
    y = torch.randint(4, (1000,), generator=torch.Generator().manual_seed(0))
    parts = stratified_split(y, (0.1, 0.2), seed=5)
    assert sorted(torch.cat(parts).tolist()) == list(range(1000))
    for label in range(4):
        total = int((y == label).sum())
        counts = [int((y[part] == label).sum()) for part in parts]
        assert counts[1] == round(0.1 * total)
        assert counts[2] == round(0.2 * total)


def test_digits_are_the_real_ones():
    datasets = pytest.importorskip("sklearn.datasets", reason="needs the extra sj-train[fit]")
    splits = load_digits()
    together = torch.cat([part.x for part in (splits.train, splits.val, splits.test)])
    digits = datasets.load_digits()
    assert together.shape == (1797, 1, 8, 8)
    assert together.double().sum().item() * 16 == pytest.approx(digits.images.sum())
    assert splits.shape == (1, 8, 8)
    assert len(splits.classes) == 10
    assert len(splits.test) == pytest.approx(360, abs=3)
    again = load_digits()
    assert torch.equal(again.test.x, splits.test.x)


def test_no_sample_is_in_two_splits():
    x = torch.arange(300.0).view(300, 1)
    splits = split_arrays("x", x, torch.arange(300) % 3, ["a", "b", "c"])
    values = [set(part.x.flatten().tolist()) for part in (splits.train, splits.val, splits.test)]
    assert len(set.union(*values)) == 300 == sum(map(len, values))


def test_a_batch_is_read_at_once():
    splits = split_arrays("x", torch.rand(30, 4), torch.arange(30) % 2, ["a", "b"])
    ((x, y),) = splits.train.__getitems__([3, 0, 5])
    assert torch.equal(x, splits.train.x[[3, 0, 5]])
    assert torch.equal(y, splits.train.y[[3, 0, 5]])


@pytest.mark.parametrize(
    ("shape", "dtype", "expected", "temporal"),
    [
        ((40, 6), np.float32, (6,), False),
        ((40, 5, 7), np.uint8, (1, 5, 7), False),
        ((40, 3, 5, 7), np.float64, (3, 5, 7), False),
        ((40, 4, 2, 5, 7), np.int16, (2, 5, 7), True),
    ],
)
def test_npz_shapes(tmp_path, shape, dtype, expected, temporal):
    x = np.random.default_rng(0).integers(0, 256, shape).astype(dtype)
    np.savez(tmp_path / "set.npz", x=x, y=np.arange(40) % 2)
    splits = load_npz(tmp_path / "set.npz", time_steps=4)
    assert splits.shape == expected
    assert splits.temporal is temporal
    total = sum(part.x.double().sum().item() for part in (splits.train, splits.val, splits.test))
    scale = 255 if dtype == np.uint8 else 1
    assert total * scale == pytest.approx(x.astype(np.float64).sum(), rel=1e-6)


@pytest.mark.parametrize(
    ("arrays", "rule"),
    [
        ({"x": np.zeros((20, 4))}, "arrays `x` and `y`"),
        ({"x": np.zeros((20, 4)), "y": np.zeros(19, int)}, "not \\[20, 4\\] and \\[19\\]"),
        ({"x": np.zeros(20), "y": np.zeros(20, int)}, "not \\[20\\]"),
        ({"x": np.zeros((20, 4)), "y": np.zeros(20)}, "whole class numbers .* not float64"),
        ({"x": np.zeros((20, 4)), "y": np.array(["cat"] * 20)}, "whole class numbers .* not text"),
        ({"x": np.zeros((20, 4)), "y": np.full(20, -1)}, "from -1"),
        ({"x": np.full((20, 4), np.nan), "y": np.arange(20) % 2}, "finite"),
        ({"x": np.full((20, 4), 1e300), "y": np.arange(20) % 2}, "finite .* float32"),
        ({"x": np.zeros((20, 4)), "y": np.arange(20) % 4}, "10 samples of every class"),
        ({"x": np.zeros((20, 4)), "y": np.arange(20) % 2 * 10**12}, "10 samples of every class"),
        ({"x": np.zeros((20, 0)), "y": np.arange(20) % 2}, "one value per sample .* \\[20, 0\\]"),
        ({"x": np.zeros((20, 3, 1, 2, 2)), "y": np.arange(20) % 2}, "has 3 time steps"),
        ({"x": np.full((20, 4), "a"), "y": np.arange(20) % 2}, "numbers in `x`"),
    ],
)
def test_npz_that_does_not_fit_is_an_error(tmp_path, arrays, rule):
    np.savez(tmp_path / "set.npz", **arrays)
    with pytest.raises(ConfigError, match=rule):
        load_npz(tmp_path / "set.npz", time_steps=4)


@pytest.mark.parametrize("damage", [b"not a zip file", b"", "cut"])
def test_a_damaged_npz_is_an_error(tmp_path, damage):
    path = tmp_path / "set.npz"
    np.savez(path, x=np.zeros((20, 4)), y=np.arange(20) % 2)
    path.write_bytes(path.read_bytes()[:300] if damage == "cut" else damage)
    with pytest.raises(ConfigError, match="cannot be read"):
        load_npz(tmp_path / "set.npz", time_steps=4)


def test_objects_in_an_npz_are_never_unpickled(tmp_path):
    np.savez(tmp_path / "set.npz", x=np.array([object()] * 20), y=np.arange(20) % 2)
    with pytest.raises(ConfigError, match="cannot be read"):
        load_npz(tmp_path / "set.npz", time_steps=4)

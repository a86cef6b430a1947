import numpy as np
import pytest
import torch

pytest.importorskip("lightning", reason="needs the extra sj-train[fit]")
from sj_train.fit import ConfigError, RunError
from sj_train.fit.data.folder import load_folder

image = pytest.importorskip("PIL.Image", reason="needs the extra sj-train[fit]")


def write(folder, count, size=(6, 4), value=0):
    folder.mkdir(parents=True)
    for number in range(count):
        pixels = np.full((size[1], size[0], 3), value + number, np.uint8)
        image.fromarray(pixels).save(folder / f"{number:03d}.png")


def test_classes_are_the_sub_folders(tmp_path):
    write(tmp_path / "b", 20, value=100)
    write(tmp_path / "a", 10, value=0)
    splits = load_folder(tmp_path, 0)
    assert splits.classes == ["a", "b"]
    assert splits.shape == (3, 4, 6)
    assert [len(part) for part in (splits.train, splits.val, splits.test)] == [21, 3, 6]
    for part in (splits.train, splits.val, splits.test):
        for x, y in part:
            assert x.dtype == torch.float32
            assert (x * 255 >= 100).all() == bool(y)


def test_images_are_resized_when_asked(tmp_path):
    write(tmp_path / "a", 10)
    write(tmp_path / "b", 10, size=(9, 9))
    with pytest.raises(ConfigError, match=r"6x4 and .* 9x9: give `--image-size`"):
        load_folder(tmp_path, 0)
    splits = load_folder(tmp_path, 12)
    assert splits.train[0][0].shape == (3, 12, 12)


@pytest.mark.parametrize("ending", ["png", "tif"])
def test_grey_images_of_16_bits_keep_their_shades(tmp_path, ending):
    shades = np.linspace(0, 65535, 24).astype(np.uint16).reshape(4, 6)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for number in range(10):
            image.fromarray(shades).save(tmp_path / name / f"{number}.{ending}")
    want = torch.from_numpy(shades.astype(np.float32) / 65535).expand(3, 4, 6)
    x, _ = load_folder(tmp_path, 0).train[0]
    torch.testing.assert_close(x, want, rtol=0, atol=1e-6)
    # Every shade counts once in the mean, whatever the size.
    x, _ = load_folder(tmp_path, 24).train[0]
    assert x.shape == (3, 24, 24)
    assert x.mean().item() == pytest.approx(want.mean().item(), abs=0.01)


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_images_of_32_bits_are_refused(tmp_path, dtype):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for number in range(10):
            image.fromarray(np.ones((4, 6), dtype)).save(tmp_path / name / f"{number}.tif")
    with pytest.raises(ConfigError, match=r"images of 8 or 16 bits; .* has 32"):
        load_folder(tmp_path, 0)


def test_too_few_classes_or_images_is_an_error(tmp_path):
    write(tmp_path / "a", 10)
    with pytest.raises(ConfigError, match="one sub-folder of images per class"):
        load_folder(tmp_path, 0)
    write(tmp_path / "b", 3)
    with pytest.raises(ConfigError, match="`b` has 3"):
        load_folder(tmp_path, 0)


@pytest.mark.parametrize("size", [0, 12])
def test_a_file_that_is_no_image_is_named(tmp_path, size):
    write(tmp_path / "a", 10)
    write(tmp_path / "b", 10)
    (tmp_path / "b" / "004.png").write_bytes(b"no picture")
    with pytest.raises(ConfigError, match=r"b/004.png` is none"):
        load_folder(tmp_path, size)


def test_an_image_that_ends_too_early_is_named_when_it_is_read(tmp_path):
    write(tmp_path / "a", 10, size=(40, 40))
    write(tmp_path / "b", 10, size=(40, 40))
    for path in tmp_path.rglob("*.png"):
        path.write_bytes(path.read_bytes()[:60])
    splits = load_folder(tmp_path, 0)
    with pytest.raises(RunError, match=r"png` cannot be read as an image"):
        splits.train[0]

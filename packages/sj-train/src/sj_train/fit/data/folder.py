"""Images in folders: one sub-folder per class."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from sj_train.fit.data.arrays import SPLIT_SEED, DataSplits, stratified_split
from sj_train.fit.errors import ConfigError, RunError, require

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".pgm", ".ppm")


class ImageFolder(Dataset[tuple[Tensor, Tensor]]):
    """Images of 8 or 16 bits read from disk when asked for, as float `[3, H, W]` in [0, 1]."""

    def __init__(self, paths: Sequence[Path], labels: Tensor, size: tuple[int, int]) -> None:
        self.paths, self.labels, self.size = list(paths), labels, size

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        pil: Any = require("PIL.Image", "pillow", "An image folder")
        try:
            with pil.open(self.paths[index]) as file:
                image = _grey(pil, file) if _of_16_bits(file) else file.convert("RGB")
        except OSError as error:
            raise RunError(f"`{self.paths[index]}` cannot be read as an image: {error}.") from error
        if image.size != self.size:
            image = image.resize(self.size, pil.Resampling.BILINEAR)
        pixels = torch.from_numpy(np.array(image, dtype=np.float32) / 255.0)
        channels = pixels.permute(2, 0, 1) if pixels.ndim == 3 else pixels.expand(3, -1, -1)
        return channels, self.labels[index]


def _of_16_bits(image: Any) -> bool:
    # Older releases of Pillow open a grey PNG of 16 bits as one of 32.
    mode: str = image.mode
    return mode.startswith("I;16") or (mode == "I" and image.format == "PNG")


def _grey(pil: Any, image: Any) -> Any:
    # Pillow itself would cut everything above 255 off.
    return pil.fromarray(np.asarray(image).astype(np.float32) * (255.0 / 65535.0))


def load_folder(root: Path, image_size: int) -> DataSplits:
    """The images below `root`, split class by class.

    Raises:
        ConfigError: fewer than two classes, a class with fewer than ten images, a file that is no
            image of 8 or 16 bits, or images of different sizes without `image_size`.
    """
    pil: Any = require("PIL.Image", "pillow", "An image folder")
    classes = sorted(p.name for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))
    paths: list[Path] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        members = sorted(p for p in (root / name).rglob("*") if p.suffix.lower() in SUFFIXES)
        if len(members) < 10:
            rule = f"must hold at least 10 images per class; `{name}` has {len(members)}"
            raise ConfigError("data", root, rule)
        paths += members
        labels += [label] * len(members)
    if len(classes) < 2:
        raise ConfigError("data", root, "must hold one sub-folder of images per class")
    sizes = _sizes(root, paths, pil)
    size = (image_size, image_size) if image_size else _common_size(root, sizes)
    y = torch.tensor(labels)
    train, val, test = (
        ImageFolder([paths[i] for i in part.tolist()], y[part], size)
        for part in stratified_split(y, (0.1, 0.2), SPLIT_SEED)
    )
    return DataSplits(root.name, train, val, test, (3, size[1], size[0]), classes)


def _sizes(root: Path, paths: list[Path], pil: Any) -> dict[tuple[int, int], Path]:
    """The sizes there are, with the first image of each."""
    sizes: dict[tuple[int, int], Path] = {}
    for path in paths:
        try:
            with pil.open(path) as image:
                sizes.setdefault(image.size, path)
                wide = image.mode in ("I", "F") and not _of_16_bits(image)
        except OSError as error:
            rule = f"must hold images that can be read; `{path}` is none"
            raise ConfigError("data", root, rule) from error
        if wide:
            rule = f"must hold images of 8 or 16 bits; `{path}` has 32: save it with fewer"
            raise ConfigError("data", root, rule)
    return sizes


def _common_size(root: Path, sizes: dict[tuple[int, int], Path]) -> tuple[int, int]:
    if len(sizes) > 1:
        (a, one), (b, two) = list(sizes.items())[:2]
        rule = (
            f"must hold images of one size; `{one.name}` is {a[0]}x{a[1]} and `{two.name}`"
            f" {b[0]}x{b[1]}: give `--image-size`"
        )
        raise ConfigError("data", root, rule)
    return next(iter(sizes))

"""Data sets that are held in memory: splits, the digits, and .npz files."""

from __future__ import annotations

import zipfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from sj_train.fit.errors import ConfigError, require

SPLIT_SEED = 20


class ArrayDataset(Dataset[tuple[Tensor, Tensor]]):
    """Samples `x[N, *]` and labels `y[N]` in memory, read a batch at a time."""

    def __init__(self, x: Tensor, y: Tensor) -> None:
        self.x, self.y = x, y

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.x[index], self.y[index]

    def __getitems__(self, indices: list[int]) -> list[tuple[Tensor, Tensor]]:
        # One indexing per batch instead of one per sample; `collate` passes it on as it is.
        return [(self.x[indices], self.y[indices])]


@dataclass
class DataSplits:
    """What a data source gives: three data sets and what the network must know of them.

    `shape` is that of one time step of one sample: `[F]` or `[C, H, W]`. With `temporal` a sample
    is a sequence `[T, *shape]` and no encoder is needed.
    """

    name: str
    train: Dataset[Any]
    val: Dataset[Any]
    test: Dataset[Any]
    shape: tuple[int, ...]
    classes: list[str]
    temporal: bool = False
    images: bool = field(init=False)

    def __post_init__(self) -> None:
        self.images = len(self.shape) == 3


def stratified_split(y: Tensor, fractions: tuple[float, ...], seed: int) -> list[Tensor]:
    """Index sets that each hold `fractions` of every class, rest first.

    Example:
        >>> y = torch.tensor([0] * 10 + [1] * 20)
        >>> [len(part) for part in stratified_split(y, (0.1, 0.2), seed=0)]
        [21, 3, 6]
    """
    generator = torch.Generator().manual_seed(seed)
    parts: list[list[Tensor]] = [[] for _ in range(len(fractions) + 1)]
    for label in y.unique().tolist():
        members = (y == label).nonzero().flatten()
        members = members[torch.randperm(len(members), generator=generator)]
        start = 0
        for part, fraction in zip(parts[1:], fractions, strict=True):
            count = round(fraction * len(members))
            part.append(members[start : start + count])
            start += count
        parts[0].append(members[start:])
    return [torch.cat(part).sort().values for part in parts]


def split_arrays(
    name: str, x: Tensor, y: Tensor, classes: list[str], temporal: bool = False
) -> DataSplits:
    """Seven tenths to train, one to choose the best checkpoint, two to test, class by class.

    The split is always the same, so that runs with different seeds are comparable.
    """
    train, val, test = stratified_split(y, (0.1, 0.2), SPLIT_SEED)
    shape = tuple(x.shape[2:] if temporal else x.shape[1:])
    return DataSplits(
        name,
        ArrayDataset(x[train], y[train]),
        ArrayDataset(x[val], y[val]),
        ArrayDataset(x[test], y[test]),
        shape,
        classes,
        temporal,
    )


def load_digits() -> DataSplits:
    """The 1,797 handwritten 8x8 digits inside scikit-learn, grey values in [0, 1]."""
    datasets: Any = require("sklearn.datasets", "'sj-train[fit]'", "The digits data set")
    digits = datasets.load_digits()
    x = torch.tensor(digits.images, dtype=torch.float32).div(16).unsqueeze(1)
    return split_arrays("digits", x, torch.tensor(digits.target), [str(c) for c in range(10)])


def load_npz(path: Path, time_steps: int) -> DataSplits:
    """Arrays `x` and `y` of an .npz file.

    `x` is `[N, F]`, `[N, H, W]`, `[N, C, H, W]` or `[N, T, C, H, W]`; 8-bit images are divided by
    255. `y` holds `N` class numbers from 0.

    Raises:
        ConfigError: an array is missing or does not fit.
    """

    def bad(rule: str) -> ConfigError:
        return ConfigError("data", path, rule)

    try:
        # numpy leaves a file open that is no archive.
        with path.open("rb") as source, np.load(source, allow_pickle=False) as file:
            arrays = {key: file[key] for key in ("x", "y") if key in file}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise bad(f"cannot be read as an .npz file ({error})") from error
    if arrays.keys() != {"x", "y"}:
        raise bad("must hold the arrays `x` and `y`")
    x, y = arrays["x"], arrays["y"]
    if x.ndim not in (2, 3, 4, 5) or y.ndim != 1 or len(x) != len(y) or len(y) == 0:
        raise bad(
            "must hold `x` as [N, F], [N, H, W], [N, C, H, W] or [N, T, C, H, W] and `y` as [N],"
            f" not {list(x.shape)} and {list(y.shape)}"
        )
    if not np.issubdtype(y.dtype, np.integer):
        kind = "text" if y.dtype.kind in "US" else y.dtype.name
        raise bad(f"must hold whole class numbers from 0 in `y`, not {kind}")
    if y.min() < 0:
        raise bad(f"must hold whole class numbers from 0 in `y`, not from {y.min()}")
    if x.dtype.kind not in "biuf":
        raise bad(f"must hold numbers in `x`, not {x.dtype}")
    if x.size == 0:
        raise bad(f"must hold at least one value per sample in `x`, not {list(x.shape)}")
    scale = 255.0 if x.dtype == np.uint8 else 1.0
    # What float32 cannot hold is refused below.
    with np.errstate(over="ignore"):
        data = torch.from_numpy(x.astype(np.float32)) / scale
    if not torch.isfinite(data).all():
        raise bad("must hold finite numbers in `x`, for float32")
    temporal = data.ndim == 5
    if temporal and data.shape[1] != time_steps:
        raise bad(f"has {data.shape[1]} time steps per sample: set `--time-steps` to that")
    # A label by mistake may be larger than the memory is.
    if y.max() >= len(y) or (np.bincount(y.astype(np.int64)) < 10).any():
        raise bad("must hold at least 10 samples of every class from 0 to the largest in `y`")
    labels = torch.from_numpy(y.astype(np.int64))
    data = data.unsqueeze(1) if data.ndim == 3 else data
    classes = [str(c) for c in range(int(labels.max()) + 1)]
    return split_arrays(path.stem, data, labels, classes, temporal)

"""Data sets of torchvision and tonic, where the user has them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Subset

from sj_train.fit.data.arrays import SPLIT_SEED, ArrayDataset, DataSplits, stratified_split
from sj_train.fit.errors import ConfigError, require

TORCHVISION = {"mnist": "MNIST", "fashion-mnist": "FashionMNIST", "cifar10": "CIFAR10"}
TONIC = {"nmnist": "NMNIST", "dvs128-gesture": "DVSGesture", "shd": "SHD"}


def load_torchvision(name: str, root: Path) -> DataSplits:
    """MNIST, FashionMNIST or CIFAR-10 as stored by torchvision below `root`.

    A tenth of the training images chooses the best checkpoint; the test images are the official.
    """
    datasets: Any = require("torchvision.datasets", "torchvision", f"`--data {name}`")
    kind = getattr(datasets, TORCHVISION[name])
    try:
        parts = [kind(str(root), train=train, download=False) for train in (True, False)]
    except RuntimeError as error:
        rule = f"holds no {name}: torchvision.datasets.{TORCHVISION[name]}(root, download=True)"
        raise ConfigError("data_path", root, rule + " fetches it") from error
    (x, y), (x_test, y_test) = (_tensors(part) for part in parts)
    train, val = stratified_split(y, (0.1,), SPLIT_SEED)
    sets = (
        ArrayDataset(x[train], y[train]),
        ArrayDataset(x[val], y[val]),
        ArrayDataset(x_test, y_test),
    )
    return DataSplits(
        name, *sets, shape=tuple(x.shape[1:]), classes=list(map(str, parts[0].classes))
    )


def _tensors(part: Any) -> tuple[Tensor, Tensor]:
    pixels = torch.as_tensor(np.asarray(part.data), dtype=torch.float32) / 255.0
    pixels = pixels.unsqueeze(1) if pixels.ndim == 3 else pixels.permute(0, 3, 1, 2).contiguous()
    return pixels, torch.as_tensor(np.asarray(part.targets), dtype=torch.int64)


class EventFrames(Dataset[tuple[Tensor, Tensor]]):
    """Event recordings summed into frames `[T, C, H, W]`, or `[T, F]` for one row of sensors."""

    def __init__(self, source: Any, to_frame: Any, flat: bool) -> None:
        self.source, self.to_frame, self.flat = source, to_frame, flat

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        events, label = self.source[index]
        frames = torch.from_numpy(np.asarray(self.to_frame(events), dtype=np.float32))
        return frames.flatten(1) if self.flat else frames, torch.tensor(int(label))


def load_tonic(name: str, root: Path, time_steps: int) -> DataSplits:
    """N-MNIST, DVS128 Gesture or SHD as stored by tonic below `root`, as `time_steps` frames.

    A tenth of the training recordings chooses the best checkpoint; the test set is the official.
    """
    tonic: Any = require("tonic", "tonic", f"`--data {name}`")
    kind = getattr(tonic.datasets, TONIC[name])
    sensor = tuple(kind.sensor_size)
    to_frame = tonic.transforms.ToFrame(sensor_size=sensor, n_time_bins=time_steps)
    flat = name == "shd"
    try:
        full, test = (
            EventFrames(kind(save_to=str(root), train=train), to_frame, flat)
            for train in (True, False)
        )
    except (OSError, RuntimeError) as error:
        rule = f"holds no {name} and it could not be fetched ({error})"
        raise ConfigError("data_path", root, rule) from error
    labels = torch.as_tensor(np.asarray(full.source.targets), dtype=torch.int64)
    train, val = stratified_split(labels, (0.1,), SPLIT_SEED)
    shape = (sensor[0] * sensor[1] * sensor[2],) if flat else (sensor[2], sensor[1], sensor[0])
    classes = [str(c) for c in getattr(kind, "classes", range(int(labels.max()) + 1))]
    sets = (Subset(full, train.tolist()), Subset(full, val.tolist()), test)
    return DataSplits(name, *sets, shape=shape, classes=classes, temporal=True)

"""The LightningDataModule: finds the data by name and feeds it in a reproducible order."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate

from sj_train.fit.config import FitConfig
from sj_train.fit.data.arrays import ArrayDataset, DataSplits, load_digits, load_npz
from sj_train.fit.data.folder import load_folder
from sj_train.fit.data.named import TONIC, TORCHVISION, load_tonic, load_torchvision
from sj_train.fit.data.sampler import EpochSampler
from sj_train.fit.errors import ConfigError


def load_data(config: FitConfig) -> DataSplits:
    """The data that `config.data` names.

    Raises:
        ConfigError: no such data, or it does not fit the settings.
        ImportError: a package that reads it is missing.
    """
    name, path = config.data, Path(config.data)
    if name == "digits":
        data = load_digits()
    elif name in TORCHVISION:
        data = load_torchvision(name, Path(config.data_path))
    elif name in TONIC:
        data = load_tonic(name, Path(config.data_path), config.time_steps)
    elif name and path.is_dir():
        data = load_folder(path, config.image_size)
    elif path.suffix == ".npz" and path.is_file():
        data = load_npz(path, config.time_steps)
    else:
        names = ", ".join(["digits", *TORCHVISION, *TONIC])
        raise ConfigError("data", name, f"must be one of {names}, an .npz file or a folder")
    if data.temporal and config.encoder != "direct":
        rule = f"must be direct for {data.name}, whose samples are sequences already"
        raise ConfigError("encoder", config.encoder, rule)
    train = data.train
    if config.encoder != "direct" and isinstance(train, ArrayDataset):
        low, high = float(train.x.min()), float(train.x.max())
        if low < 0 or high > 1:
            rule = (
                f"holds values from {low:g} to {high:g}; the {config.encoder} encoder needs [0, 1]"
            )
            raise ConfigError("data", name, rule)
    return data


def collate(samples: list[Any]) -> tuple[Tensor, Tensor]:
    """A batch `(x, y)`; passes on a batch that the data set has read as a whole."""
    if len(samples) == 1 and samples[0][1].ndim == 1:
        return samples[0]
    x, y = default_collate(samples)
    return x, y


def crowded(config: FitConfig) -> str:
    """A sentence where a run would have more processes that load data than there are cores."""
    # Those that this process may use, where the system tells.
    ours = getattr(os, "sched_getaffinity", None)
    cores = len(ours(0)) if ours else os.cpu_count() or 1
    if config.workers <= cores:
        return ""
    excess = f"`--workers` (={config.workers}) exceeds the cores here ({cores})"
    return f"{excess}: they wait for each other."


class FitData(pl.LightningDataModule):
    """Loaders of the three splits; `batch` is `(x[N, *], y[N])`, sequences `x[N, T, *]`."""

    def __init__(self, config: FitConfig, splits: DataSplits | None = None) -> None:
        super().__init__()
        self.config = config
        self.splits = load_data(config) if splits is None else splits
        small = len(self.splits.train) < 10_000  # type: ignore[arg-type]
        self.batch_size = config.batch_size or (16 if small else 128)

    def _loader(self, data: Dataset[Any], shuffle: bool) -> DataLoader[Any]:
        rank, world, epoch = 0, 1, 0
        if self.trainer is not None:
            rank, world = self.trainer.global_rank, self.trainer.world_size
            # `current_epoch` still names the epoch before when a run is being resumed.
            epoch = self.trainer.fit_loop.epoch_progress.current.processed  # type: ignore[attr-defined]
        sampler = EpochSampler(
            len(data),  # type: ignore[arg-type]
            shuffle=shuffle,
            seed=self.config.seed,
            rank=rank,
            world=world,
        )
        sampler.set_epoch(epoch)
        workers = self.config.workers
        # A last batch of one sample has no variance, and the next epoch draws another order.
        single = len(sampler) > 1 and len(sampler) % self.batch_size == 1
        return DataLoader(
            data,
            batch_size=self.batch_size,
            drop_last=shuffle and single and self.config.needs_two_samples(),
            sampler=sampler,
            num_workers=workers,
            collate_fn=collate,
            persistent_workers=workers > 0,
            pin_memory=torch.cuda.is_available(),
        )

    def train_dataloader(self) -> DataLoader[Any]:
        return self._loader(self.splits.train, shuffle=True)

    def val_dataloader(self) -> DataLoader[Any]:
        return self._loader(self.splits.val, shuffle=False)

    def test_dataloader(self) -> DataLoader[Any]:
        return self._loader(self.splits.test, shuffle=False)

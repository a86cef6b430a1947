"""The order of samples as a pure function of seed and epoch."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch.utils.data import Sampler


class EpochSampler(Sampler[int]):
    """Indices of one epoch for one of `world` processes.

    The order depends on `(seed, epoch)` alone, so a resumed run draws the same batches as one that
    was never stopped, whatever other random numbers were drawn. With `shuffle`, the order is padded
    from its own start so that all processes have the same number of samples (a process with one
    batch less would leave the others waiting); without, nothing is repeated, so that sums over
    processes count each sample once.

    Example:
        >>> sampler = EpochSampler(5, shuffle=False, rank=1, world=2)
        >>> list(sampler)
        [1, 3]
    """

    def __init__(
        self, size: int, *, shuffle: bool, seed: int = 0, rank: int = 0, world: int = 1
    ) -> None:
        if not 0 <= rank < world:
            raise ValueError(f"`rank` (={rank}) must lie in [0, {world}).")
        self.size, self.shuffle, self.seed = size, shuffle, seed
        self.rank, self.world, self.epoch = rank, world, 0

    def set_epoch(self, epoch: int) -> None:
        """Chooses the epoch whose order comes next; Lightning calls it."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        if not self.shuffle:
            return iter(range(self.rank, self.size, self.world))
        generator = torch.Generator().manual_seed(mix_seed(self.seed, self.epoch))
        order = torch.randperm(self.size, generator=generator).tolist()
        padded = len(self) * self.world
        return (order[place % self.size] for place in range(self.rank, padded, self.world))

    def __len__(self) -> int:
        extra = self.world - 1 if self.shuffle else self.world - 1 - self.rank
        return (self.size + extra) // self.world


def mix_seed(*parts: int) -> int:
    """A 63-bit seed from whole numbers; neighbours give unrelated seeds (splitmix64).

    Example:
        >>> mix_seed(0, 1) != mix_seed(1, 0)
        True
    """
    mask, state = (1 << 64) - 1, 0
    for part in parts:
        state = (state ^ (part & mask)) + 0x9E3779B97F4A7C15 & mask
        state = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9 & mask
        state = (state ^ (state >> 27)) * 0x94D049BB133111EB & mask
        state ^= state >> 31
    return state >> 1

"""BatchNorm over all ranks, for layers with a time axis and on any device."""

from __future__ import annotations

import functools
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


def synchronise_batch_norms(net: nn.Module, group: Any = None) -> None:
    """Let every BatchNorm of `net` take its statistics in training over the ranks of `group`.

    `nn.SyncBatchNorm.convert_sync_batchnorm` would replace the layer, and with it lose its step
    mode and whatever else a subclass adds. Here a layer stays what it is, weights, buffers and
    names included; only the normalisation that its `forward` ends in is another.
    """
    for module in net.modules():
        if isinstance(module, _BatchNorm) and not isinstance(module, (nn.SyncBatchNorm, _OfRanks)):
            # torch's fused layer knows GPUs alone.
            tensors = [*module.parameters(), *module.buffers()]
            fused = any(x.is_cuda for x in tensors)
            kind: Any = type(module)
            module.__class__ = _synchronised(kind, fused)
            module.process_group = group  # type: ignore[assignment]


class _Synchronised:
    """Marks a class made by `_synchronised`; copies and pickles are made by what made it."""

    _made_of: tuple[Any, bool]

    def __reduce_ex__(self, protocol: Any) -> Any:
        return _empty, self._made_of, {**self.__dict__, "process_group": None}


class _OfRanks(_BatchNorm):
    """What `nn.SyncBatchNorm` is, in differentiable torch operations."""

    process_group: Any = None

    def forward(self, input: Tensor) -> Tensor:
        if not (self.training and dist.is_initialized() and input.dim() > 1):
            return super().forward(input)
        self._check_input_dim(input)
        x = input.to(torch.promote_types(input.dtype, torch.float32))
        axes = [axis for axis in range(x.dim()) if axis != 1]
        shape = [1, -1] + [1] * (x.dim() - 2)
        values = x.new_tensor([x.numel() // x.shape[1]])
        sums = _sum_over_ranks(torch.cat([x.sum(axes), values]), self.process_group)
        count = float(sums.detach()[-1])
        if count < 2:
            raise ValueError(
                f"`input` (shape {tuple(input.shape)}) must hold, over all ranks, more than one "
                "value per channel in training."
            )
        mean = sums[:-1] / count
        # From the deviations: the difference of two sums would cancel.
        centred = x - mean.view(shape)
        square = centred.square().sum(axes)
        variance = _sum_over_ranks(square, self.process_group) / count
        self._move_statistics(mean.detach(), variance.detach() * (count / (count - 1)))
        y = centred * (variance + self.eps).rsqrt().view(shape)
        if self.weight is not None:
            y = y * self.weight.view(shape) + self.bias.view(shape)
        return y.to(input.dtype)

    @torch.no_grad()
    def _move_statistics(self, mean: Tensor, variance: Tensor) -> None:
        if not self.track_running_stats or self.running_mean is None or self.running_var is None:
            return
        assert self.num_batches_tracked is not None
        self.num_batches_tracked += 1
        share = self.momentum
        if share is None:
            share = 1.0 / float(self.num_batches_tracked)
        for kept, new in ((self.running_mean, mean), (self.running_var, variance)):
            kept.lerp_(new.to(kept.dtype), share)


@functools.cache
def _synchronised(kind: Any, fused: bool) -> Any:
    # The base stands behind `kind` and torch's own BatchNorm1d to 3d, before the `forward` that
    # these inherit.
    base: Any = nn.SyncBatchNorm if fused else _OfRanks
    body = {"_made_of": (kind, fused), "__module__": kind.__module__}
    return type(f"Synchronised{kind.__name__}", (_Synchronised, kind, base), body)


def _empty(kind: Any, fused: bool) -> nn.Module:
    made = _synchronised(kind, fused)
    empty: nn.Module = made.__new__(made)
    return empty


class _SumOverRanks(torch.autograd.Function):
    """y = sum over ranks of x; each rank's x has a share in the losses of all."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, group: Any) -> Tensor:
        ctx.group = group
        total = x.clone()
        dist.all_reduce(total, group=group)
        return total

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        total = grad.clone()
        dist.all_reduce(total, group=ctx.group)
        return total, None


def _sum_over_ranks(x: Tensor, group: Any) -> Tensor:
    total: Tensor = _SumOverRanks.apply(x, group)
    return total

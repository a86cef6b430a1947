"""Data-parallel training of spiking networks in the user's own loop: DDP and FSDP2."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from sj_core import functional
from sj_core.base import StepModule
from sj_train._sync_norm import synchronise_batch_norms


class SequenceForward(nn.Module):
    """Runs a network over a whole sequence in one `forward`, from a reset state.

    `x_seq[T, N, *] -> y_seq[T, N, *]`; a network in step mode 's' is called step by step. One
    forward for all T is what DDP and FSDP need: their hooks gather gradients once per forward, and
    the graph of a state kept over several forwards would not be known to them.

    Example:
        >>> from sj_core import neuron
        >>> net = SequenceForward(nn.Sequential(nn.Linear(3, 2), neuron.IFNode()))
        >>> net(torch.rand(5, 4, 3)).shape
        torch.Size([5, 4, 2])
    """

    def __init__(self, net: nn.Module, reset: bool = True) -> None:
        super().__init__()
        self.net = net
        self.reset = reset

    def forward(self, x_seq: Tensor) -> Tensor:
        if self.reset:
            functional.reset_net(self.net)
        else:
            functional.detach_net(self.net)
        if takes_sequences(self.net):
            y_seq: Tensor = self.net(x_seq)
            return y_seq
        return torch.stack([self.net(x) for x in x_seq])


def takes_sequences(net: nn.Module) -> bool:
    """Whether a network is in step mode 'm': some module of it is.

    A container that takes sequences keeps its children at single steps, so not all have to be.
    """
    return any(m.step_mode == "m" for m in net.modules() if isinstance(m, StepModule))


def wrap_ddp(net: nn.Module, *, reset: bool = True, sync_bn: bool = True, **kwargs: Any) -> Any:
    """DistributedDataParallel of a spiking network: the whole loop over T is one forward.

    The membrane state stays with its rank: it is no buffer, so nothing overwrites it. With
    `sync_bn` every BatchNorm of `net`, those with a time axis too, takes its statistics in training
    over all ranks; without, each rank uses its own, and running statistics are those of rank 0.
    `reset=False` carries the state from one forward to the next, cut from the graph. Other
    arguments are DDP's. `wrapped.module.net` is `net`.

    Raises:
        RuntimeError: no process group.

    Example:
        >>> # in each process, after torch.distributed.init_process_group(...):
        >>> # ddp = wrap_ddp(net); loss = f(ddp(x_seq), target); loss.backward(); optimizer.step()
    """
    _need_process_group("wrap_ddp")
    device = next((p.device for p in net.parameters()), torch.device("cpu"))
    if sync_bn and dist.get_world_size() > 1:
        synchronise_batch_norms(net, kwargs.get("process_group"))
    if device.type == "cuda":
        kwargs.setdefault("device_ids", [device])
    return DistributedDataParallel(SequenceForward(net, reset), **kwargs)


def wrap_fsdp(
    net: nn.Module,
    *,
    reset: bool = True,
    sync_bn: bool = True,
    shard: Callable[[nn.Module], bool] | None = None,
    **kwargs: Any,
) -> SequenceForward:
    """FSDP2 (`fully_shard`) of a spiking network: parameters are split over the ranks.

    Each module for which `shard(module)` holds (usually: every child of an `nn.Sequential` that
    has parameters) becomes a unit of its own, then the whole. `reset` and `sync_bn` are as in
    `wrap_ddp`, other arguments as in `fully_shard`. Build the optimizer after it, for the
    parameters have become DTensors.

    Raises:
        RuntimeError: no process group; a network on the CPU, which FSDP2 of torch 2.6 cannot run.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    _need_process_group("wrap_fsdp")
    if shard is None:
        units = {child for m in net.modules() if isinstance(m, nn.Sequential) for child in m}

        def shard(module: nn.Module) -> bool:
            return module in units and next(module.parameters(recurse=False), None) is not None

    device = next((p.device for p in net.parameters()), torch.device("cpu"))
    if device.type == "cpu" and not _fsdp_runs_on_cpu():
        raise RuntimeError(
            f"`net` is on the CPU, where FSDP2 of torch {torch.__version__} does not run: move it "
            "to a GPU, use `wrap_ddp`, or install a newer torch."
        )
    kwargs.setdefault("mesh", init_device_mesh(device.type, (dist.get_world_size(),)))
    if sync_bn and dist.get_world_size() > 1:
        synchronise_batch_norms(net)
    wrapped = SequenceForward(net, reset)
    for module in [m for m in net.modules() if m is not net and shard(m)]:
        fully_shard(module, **kwargs)
    fully_shard(wrapped, **kwargs)
    return wrapped


def full_state_dict(wrapped: nn.Module) -> dict[str, Tensor]:
    """The state of the network itself: keys and whole tensors as a single process has them.

    For `wrap_ddp` and `wrap_fsdp`; every rank has to call it, and every rank gets it.
    """
    inner: Any = wrapped.module if isinstance(wrapped, DistributedDataParallel) else wrapped
    net = inner.net if isinstance(inner, SequenceForward) else inner
    return {
        name: value.full_tensor() if hasattr(value, "full_tensor") else value
        for name, value in net.state_dict().items()
    }


def reduce_sums(values: Iterable[float | Tensor], device: Any = "cpu") -> list[float]:
    """Sums over all ranks of each number, for means that are right on unequal shares.

    Add up loss times samples, right answers and samples on each rank, reduce, divide. Without a
    process group the numbers come back as they are.

    Example:
        >>> loss_sum, right, count = reduce_sums([3.0, 5, 8])
        >>> right / count
        0.625
    """
    numbers = [torch.as_tensor(value, dtype=torch.float64, device=device) for value in values]
    sums = torch.stack([number.detach() for number in numbers])
    if dist.is_available() and dist.is_initialized():
        dist.all_reduce(sums)
    result: list[float] = sums.tolist()
    return result


def _need_process_group(name: str) -> None:
    if not (dist.is_available() and dist.is_initialized()):
        raise RuntimeError(
            f"`{name}` needs a process group: start with torchrun and call "
            "`torch.distributed.init_process_group`."
        )


def _fsdp_runs_on_cpu() -> bool:
    """Whether this torch has what FSDP2 asks of a stream on the CPU; 2.6 has not."""
    return hasattr(torch.cpu.Stream, "record_event")

"""One rank of the tests of `sj_train.distributed`: `python distributed_worker.py CASE OUT`."""

import copy
import gc
import pickle
import sys
from contextlib import nullcontext

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn

from sj_core import functional, layer, neuron
from sj_train import distributed

T, BATCH, STEPS = 5, 8, 3


def network(norm=False):
    torch.manual_seed(7)
    net = nn.Sequential(
        layer.Flatten(),
        layer.Linear(12, 16),
        neuron.LIFNode(),
        layer.Linear(16, 16),
        *([layer.BatchNorm1d(16)] if norm else []),
        neuron.ParametricLIFNode(),
        layer.Linear(16, 4),
    ).double()
    functional.set_step_mode(net, "m")
    return net


def batch(step, size=BATCH):
    generator = torch.Generator().manual_seed(100 + step)
    x_seq = 2 * torch.rand(T, size, 3, 4, generator=generator, dtype=torch.float64)
    return x_seq, torch.randint(4, (size,), generator=generator)


def normalised():
    """A network with each kind of BatchNorm: sj-core's, one scaled by time, and torch's own."""
    torch.manual_seed(8)
    net = nn.Sequential(
        layer.Conv2d(1, 4, 3, padding=1, bias=False),
        layer.BatchNorm2d(4),
        neuron.LIFNode(),
        layer.Conv2d(4, 4, 3, stride=2),
        layer.TemporalEffectiveBatchNorm2d(T, 4, momentum=None),
        neuron.LIFNode(),
        layer.Flatten(),
        layer.SeqToANNContainer(nn.Linear(4, 6), nn.BatchNorm1d(6, affine=False), nn.Linear(6, 4)),
    ).double()
    functional.set_step_mode(net, "m")
    return net


def train(model, parameters, share):
    optimizer = torch.optim.SGD(parameters, lr=0.2, momentum=0.9)
    for step in range(STEPS):
        x_seq, target = batch(step)
        if any(isinstance(m, nn.Conv2d) for m in model.modules()):
            x_seq = x_seq.unsqueeze(2)
        loss = F.cross_entropy(model(x_seq[:, share]).mean(0), target[share])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def single(net):
    """What one process gets from whole batches."""
    model = distributed.SequenceForward(net)
    train(model, net.parameters(), slice(None))
    return net.state_dict()


def ddp(rank, world, build=network):
    model = distributed.wrap_ddp(build())
    train(model, model.parameters(), slice(rank, None, world))
    return distributed.full_state_dict(model)


def fsdp(rank, world, build=network):
    model = distributed.wrap_fsdp(build())
    sharded = sum(p.to_local().numel() for p in model.parameters())
    assert sharded < sum(p.numel() for p in build().parameters()) * 0.7, sharded
    train(model, model.parameters(), slice(rank, None, world))
    return distributed.full_state_dict(model)


def ddp_norm(rank, world):
    return ddp(rank, world, normalised)


def fsdp_norm(rank, world):
    return fsdp(rank, world, normalised)


def share_of(rank):
    """Five samples for one rank, two for the other, far from zero."""
    generator = torch.Generator().manual_seed(rank)
    return 1e3 + torch.randn(5 - 3 * rank, 3, generator=generator, dtype=torch.float64)


def uneven(rank, world):
    net = layer.BatchNorm1d(3).double()
    wrapped = distributed.wrap_ddp(net)
    assert pickle.loads(pickle.dumps(net)).extra_repr() == net.extra_repr()
    norm = copy.deepcopy(wrapped.module.net)
    x = share_of(rank).requires_grad_()
    y = norm(x)
    (y**3).sum().backward()
    seen = {"y": y.detach(), "x.grad": x.grad, **norm.state_dict()}
    return seen | {f"{name}.grad": p.grad for name, p in norm.named_parameters()}


def state(rank, world):
    """Membrane states after different inputs: each rank must keep its own."""
    net = network(norm=True)
    model = distributed.wrap_ddp(net, reset=False, sync_bn=False)
    x_seq, _ = batch(rank, size=4 + rank)
    model(x_seq).sum().backward()
    model(x_seq).sum().backward()
    return {name: value.detach() for name, value in functional.get_state(net).items()}


def accumulation(rank, world):
    net = network()
    model = distributed.wrap_ddp(net)
    for step in range(2):
        x_seq, target = batch(step)
        share = slice(rank, None, world)
        with model.no_sync() if step == 0 else nullcontext():
            F.cross_entropy(model(x_seq[:, share]).mean(0), target[share]).backward()
    return {name: p.grad for name, p in net.named_parameters()}


def sums(rank, world):
    """Ranks with 3 and 5 samples, of which 1 and 4 are right."""
    right, count = distributed.reduce_sums([[1.0, 4.0][rank], torch.tensor([3, 5][rank])])
    return {"right": torch.tensor(right), "count": torch.tensor(count)}


def main(cases, out):
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    rank, world = dist.get_rank(), dist.get_world_size()
    for case in cases.split(","):
        torch.save(globals()[case](rank, world), f"{out}/{case}-{rank}.pt")
    # What still refers to the group when Python ends has its threads aborted: status 134.
    gc.collect()
    dist.destroy_process_group()


if __name__ == "__main__":
    main(*sys.argv[1:])

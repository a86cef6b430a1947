import weakref

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from sj_core.functional import reset_net
from sj_core.neuron import LIFNode
from sj_train.online import (
    OTTTLIFNode,
    OTTTSequential,
    SLTTLIFNode,
    fptt_online_training,
    fptt_online_training_init_w_ra,
    ottt_online_training,
    sltt_online_training,
)


class TensorPeak(TorchDispatchMode):
    """Bytes of the tensors made inside the block that are alive at once, at most."""

    def __init__(self):
        super().__init__()
        self.alive = self.peak = 0
        self.known = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for x in out if isinstance(out, tuple | list) else (out,):
            if isinstance(x, Tensor):
                storage = x.untyped_storage()
                key, size = storage._cdata, storage.nbytes()
                if size and key not in self.known:
                    self.known.add(key)
                    self.alive += size
                    self.peak = max(self.peak, self.alive)
                    weakref.finalize(storage, self.drop, key, size)
        return out

    def drop(self, key, size):
        self.known.discard(key)
        self.alive -= size


def peak(method, T):
    """Peak bytes of tensors while one sequence is trained, the outputs handed back apart."""
    torch.manual_seed(0)
    node = {"ottt": OTTTLIFNode, "sltt": SLTTLIFNode}.get(method, LIFNode)
    container = OTTTSequential if method == "ottt" else nn.Sequential
    net = container(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        node(),
        nn.MaxPool2d(2),
        nn.Dropout(0.2),
        nn.Flatten(),
        nn.Linear(64, 10),
        LIFNode(),
    )
    optimizer = torch.optim.Adam(net.parameters())
    x = torch.rand(8, 1, 8, 8).expand(T, 8, 1, 8, 8)
    y = (torch.arange(8) % 10).expand(T, 8)
    w_ra = fptt_online_training_init_w_ra(optimizer)

    def train():
        if method == "fptt":
            fptt_online_training(net, optimizer, x, y, F.cross_entropy, 0.5, w_ra)
            return 0
        if method == "bptt":
            out = torch.stack([net(step) for step in x])
            F.cross_entropy(out.mean(0), y[0]).backward()
            return out.nbytes
        first = (net, optimizer, x.transpose(0, 1), y.transpose(0, 1), F.cross_entropy)
        if method == "ottt":
            return ottt_online_training(*first, online=True)[1].nbytes
        return sltt_online_training(*first, online=True, k=T // 2)[1].nbytes

    train()
    reset_net(net)
    with TensorPeak() as memory:
        returned = train()
    return memory.peak - returned


@pytest.mark.parametrize("method", ["ottt", "sltt", "fptt"])
def test_tensors_do_not_grow_with_the_number_of_steps(method):
    assert peak(method, 60) == pytest.approx(peak(method, 10), rel=0.01)


def test_the_measure_sees_the_growth_of_bptt():
    assert peak("bptt", 60) > 4 * peak("bptt", 10)

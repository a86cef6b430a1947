"""BPTT, OTTT, SLTT and FPTT on the 8x8 digits, Poisson-encoded over T = 20: a table of all four.

    python docs/examples/online_learning.py
    python docs/examples/online_learning.py --methods ottt fptt --time-steps 50 --epochs 60 --seed 1

The network is the same for all: 64 inputs, 256 LIF neurons, 10 outputs whose mean over time
decides. Memory is the peak of tensors beyond the data, the weights and the optimizer's state,
while one batch is trained.
"""

from __future__ import annotations

import argparse
import time
import weakref

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from sj_core import functional, neuron, surrogate
from sj_core.encoding import PoissonEncoder
from sj_train import losses, online

METHODS = ("bptt", "ottt", "sltt", "fptt")


class TensorPeak(TorchDispatchMode):
    """Bytes of the tensors made inside the block that are alive at once, at most."""

    def __init__(self) -> None:
        super().__init__()
        self.alive = self.peak = 0
        self._known: set[int] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for x in out if isinstance(out, tuple | list) else (out,):
            if isinstance(x, Tensor):
                self._watch(x.untyped_storage())
        return out

    def _watch(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key not in self._known and size:
            self._known.add(key)
            self.alive += size
            self.peak = max(self.peak, self.alive)
            weakref.finalize(storage, self._drop, key, size)

    def _drop(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.alive -= size


def digits(seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Training and test images in [0, 1], `[N, 64]`, with their classes."""
    from sklearn.datasets import load_digits

    x, y = (torch.from_numpy(a) for a in load_digits(return_X_y=True))
    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(seed))
    x, y = x[order].float() / 16.0, y[order].long()
    return x[360:], y[360:], x[:360], y[:360]


def make_net(method: str) -> nn.Sequential:
    settings = {"surrogate_function": surrogate.ATan(), "detach_reset": True}
    if method == "ottt":
        node: nn.Module = online.OTTTLIFNode(**settings)
    elif method == "sltt":
        node = online.SLTTLIFNode(decay_input=False, v_reset=None, **settings)
    else:
        node = neuron.LIFNode(decay_input=False, v_reset=None, **settings)
    container = online.OTTTSequential if method == "ottt" else nn.Sequential
    return container(nn.Linear(64, 256), node, nn.Linear(256, 10))


def train_batch(method: str, net: nn.Module, optimizer, w_ra, x_seq: Tensor, y: Tensor) -> None:
    """One batch of sequences `[T, N, 64]`."""
    T = len(x_seq)
    functional.reset_net(net)
    if method == "bptt":
        out = torch.stack([net(x) for x in x_seq])
        loss = losses.temporal_efficient_training_cross_entropy(out, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    elif method == "fptt":
        target = y.expand(T, len(y))
        online.fptt_online_training(net, optimizer, x_seq, target, F.cross_entropy, 0.1, w_ra)
    else:
        train = online.ottt_online_training if method == "ottt" else online.sltt_online_training
        batch_first, target = x_seq.transpose(0, 1), y.unsqueeze(1).expand(len(y), T)
        train(net, optimizer, batch_first, target, F.cross_entropy, online=False)


@torch.no_grad()
def accuracy(net: nn.Module, encode, x: Tensor, y: Tensor, T: int) -> float:
    net.eval()
    functional.reset_net(net)
    mean = sum(net(encode(x)) for _ in range(T)) / T
    net.train()
    return (mean.argmax(1) == y).float().mean().item()


def run(method: str, T: int, epochs: int, seed: int, batch: int = 64) -> tuple[float, float, float]:
    """Test accuracy, seconds per epoch and peak memory in MiB."""
    x, y, x_test, y_test = digits(seed)
    torch.manual_seed(seed)
    net = make_net(method)
    # FPTT makes T optimizer steps per batch, the others make one.
    rate = 2e-3 if method == "fptt" else 1e-2
    optimizer = torch.optim.Adam(net.parameters(), lr=rate)
    w_ra = online.fptt_online_training_init_w_ra(optimizer)
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    encode = PoissonEncoder()
    seconds = 0.0
    for _ in range(epochs):
        start = time.perf_counter()
        for index in torch.randperm(len(y)).split(batch):
            x_seq = torch.stack([encode(x[index]) for _ in range(T)])
            train_batch(method, net, optimizer, w_ra, x_seq, y[index])
        decay.step()
        seconds += time.perf_counter() - start
    score = accuracy(net, encode, x_test, y_test, T)
    x_seq = torch.stack([encode(x[:batch]) for _ in range(T)])
    with TensorPeak() as memory:
        train_batch(method, net, optimizer, w_ra, x_seq, y[:batch])
    return score, seconds / epochs, memory.peak / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS)
    parser.add_argument("--time-steps", type=int, default=20)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    print(f"{'method':8}{'accuracy':>10}{'s / epoch':>11}{'peak MiB':>10}")
    for method in args.methods:
        score, seconds, mebibytes = run(method, args.time_steps, args.epochs, args.seed)
        print(f"{method:8}{score:>10.2%}{seconds:>11.2f}{mebibytes:>10.2f}", flush=True)


if __name__ == "__main__":
    main()

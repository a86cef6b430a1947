"""Memory of online learning against the number of time steps (P7), BPTT beside it.

    python tests/benchmarks/bench_online.py [--json FILE] [--figure FILE] [--steps 10 100 1000]

Every method runs in a process of its own. It trains a small convolutional network on one batch of
sequences for each T; counted are the tensors made meanwhile that are alive at once at most, the
outputs returned apart, and the growth of the process's peak resident size over that at the first T.
"""

from __future__ import annotations

import argparse
import gc
import json
import subprocess
import sys
import weakref
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from sj_core import functional, neuron
from sj_train import losses, online

METHODS = ("ottt", "sltt", "fptt", "bptt")
LONGEST_BPTT = 200  # its memory is 0.9 MiB a step; a thousand of them show nothing new
BATCH = 16
REACH, GROWTH = 1.02, 2.0


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
        if size and key not in self._known:
            self._known.add(key)
            self.alive += size
            self.peak = max(self.peak, self.alive)
            weakref.finalize(storage, self._drop, key, size)

    def _drop(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.alive -= size


def make_net(method: str) -> nn.Module:
    node = {"ottt": online.OTTTLIFNode, "sltt": online.SLTTLIFNode}.get(method, neuron.LIFNode)
    container = online.OTTTSequential if method == "ottt" else nn.Sequential
    return container(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        node(),
        nn.AvgPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        node(),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(512, 10),
    )


class Run:
    """One network and optimizer; `train(T)` is one batch of sequences."""

    def __init__(self, method: str) -> None:
        torch.manual_seed(0)
        self.method = method
        self.net = make_net(method)
        self.optimizer = torch.optim.SGD(self.net.parameters(), lr=1e-3, momentum=0.9)
        self.w_ra = online.fptt_online_training_init_w_ra(self.optimizer)
        # One image for all steps: views of any length in time that take no memory.
        self.x = torch.rand(BATCH, 1, 16, 16)
        self.y = torch.arange(BATCH) % 10

    def train(self, T: int) -> int:
        """Train; return the bytes of what comes back."""
        functional.reset_net(self.net)
        x_seq, y_seq = self.x.expand(T, *self.x.shape), self.y.expand(T, BATCH)
        if self.method == "bptt":
            out = torch.stack([self.net(x) for x in x_seq])
            loss = losses.temporal_efficient_training_cross_entropy(out, self.y)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            functional.reset_net(self.net)
            return out.nbytes
        if self.method == "fptt":
            online.fptt_online_training(
                self.net, self.optimizer, x_seq, y_seq, F.cross_entropy, 0.1, self.w_ra
            )
            return 0
        train = (
            online.ottt_online_training if self.method == "ottt" else online.sltt_online_training
        )
        x_seq, y_seq = x_seq.transpose(0, 1), y_seq.transpose(0, 1)
        _, out = train(self.net, self.optimizer, x_seq, y_seq, F.cross_entropy, online=True)
        return out.nbytes


def resident_peak(reset: bool = False) -> float:
    """MiB of the highest resident size since the last reset (Linux)."""
    if reset:
        gc.collect()
        Path("/proc/self/clear_refs").write_text("5")
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def measure(method: str, steps: list[int]) -> list[dict[str, float]]:
    """The rows of one method, in this process."""
    run, rows = Run(method), []
    steps = [T for T in steps if method != "bptt" or T <= LONGEST_BPTT]
    for _ in range(10):
        run.train(steps[0])
    residents = []
    for T in steps:  # before any counting of tensors, which takes memory of its own
        resident_peak(reset=True)
        run.train(T)
        residents.append(resident_peak())
    base = residents[0]
    for T, resident in zip(steps, residents, strict=True):
        with TensorPeak() as memory:
            returned = run.train(T)
        rows.append(
            {
                "T": T,
                "tensors_mib": (memory.peak - returned) / 2**20,
                "returned_mib": returned / 2**20,
                "process_growth_mib": resident - base,
                "process_ratio": resident / base,
            }
        )
    return rows


def figure(table: dict[str, list[dict[str, float]]], path: Path) -> None:
    """Peak memory of tensors against T."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    fig, ax = plt.subplots(figsize=(6, 4), layout="constrained")
    for size, (method, rows) in zip((11, 6, 6, 6), table.items(), strict=False):
        ax.plot(
            [r["T"] for r in rows],
            [r["tensors_mib"] for r in rows],
            "o-",
            markersize=size,
            label=method.upper(),
        )
    ax.set(xscale="log", yscale="log", xlabel="time steps T", ylabel="peak memory of tensors (MiB)")
    ax.set_title("One training sequence, batch of 16, two convolutions")
    ax.grid(True, which="both", alpha=0.3)
    ax.legend()
    fig.savefig(path, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, nargs="+", default=[10, 30, 100, 300, 1000])
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS)
    parser.add_argument(
        "--json", nargs="?", const="-", help="the rows as JSON: printed last, or into this file"
    )
    parser.add_argument("--figure", type=Path, help="draw memory against T into this file")
    parser.add_argument("--peers", action="store_true", help="no peer is measured here")
    parser.add_argument("--worker", choices=METHODS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        print(json.dumps(measure(args.worker, args.steps)))
        return
    table: dict[str, list[dict[str, float]]] = {}
    print(f"{'method':8}{'T':>6}{'tensors MiB':>13}{'ratio':>8}{'process +MiB':>14}{'ratio':>8}")
    for method in args.methods:
        command = [sys.executable, __file__, "--worker", method, "--steps", *map(str, args.steps)]
        rows = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
        table[method] = rows
        for row in rows:
            row["tensors_ratio"] = row["tensors_mib"] / rows[0]["tensors_mib"]
            print(
                f"{method:8}{row['T']:>6}{row['tensors_mib']:>13.3f}{row['tensors_ratio']:>8.3f}"
                f"{row['process_growth_mib']:>14.2f}{row['process_ratio']:>8.3f}",
                flush=True,
            )
    for method in set(args.methods) - {"bptt"}:
        last = table[method][-1]
        reached = (
            max(last["tensors_ratio"], last["process_ratio"]) <= REACH
            and last["process_growth_mib"] <= GROWTH
        )
        print(f"P7 {method}: {'reached' if reached else 'MISSED'}")
    if args.json == "-":
        print(json.dumps({"P7": table}, indent=2))
    elif args.json:
        Path(args.json).write_text(json.dumps({"P7": table}, indent=2))
    if args.figure:
        figure(table, args.figure)


if __name__ == "__main__":
    main()

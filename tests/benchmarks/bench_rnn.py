"""P5: stacked spiking LSTM, GRU and vanilla RNN, forward and backward, against torch's own.

    nox -s bench -- bench_rnn.py
    nox -s bench -- bench_rnn.py --peers     SpikingJelly's too
    nox -s bench -- bench_rnn.py --backend torch     without sj-kernels

One process, the two interleaved, median of the ratios of at least 20 runs; glibc's allocator keeps
its pages, as `docs/benchmarks` explains. The memory is that of the tensors kept for backward,
input, weights and output apart. Reach: 1.2 (LSTM), 0.7 (GRU), 1.1 (vanilla).
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from allocator import keep_pages
from torch import Tensor, nn

from sj_core import backend
from sj_rnn import SpikingGRU, SpikingLSTM, SpikingVanillaRNN

OURS = {"lstm": SpikingLSTM, "gru": SpikingGRU, "vanilla": SpikingVanillaRNN}
TORCH = {"lstm": nn.LSTM, "gru": nn.GRU, "vanilla": nn.RNN}
REACH = {"lstm": 1.2, "gru": 0.7, "vanilla": 1.1}


class Case(NamedTuple):
    name: str
    sizes: tuple[int, int, int]  # input, hidden, layers
    steps: int
    batch: int
    bidirectional: bool


CASES = (
    Case("128->256, 2 layers", (128, 256, 2), 100, 32, False),
    Case("the same, both ways", (128, 256, 2), 100, 32, True),
    Case("16->32, 1 layer", (16, 32, 1), 50, 8, False),
)


def spikingjelly(kind: str) -> Any:
    from spikingjelly.activation_based import rnn  # type: ignore[import-not-found]

    names = {"lstm": "SpikingLSTM", "gru": "SpikingGRU", "vanilla": "SpikingVanillaRNN"}
    return getattr(rnn, names[kind])


def kept_bytes(net: nn.Module, x: Tensor) -> int:
    """Bytes that a forward keeps for backward, without the input, the parameters and the output."""
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        y, _ = net(x)
    for own in (x, y, *net.parameters()):
        kept.pop(own.untyped_storage().data_ptr(), None)
    return sum(kept.values())


def times(work: list[Callable[[], None]], runs: int) -> list[list[float]]:
    """Seconds of each piece of work, run in turn, after a warm-up."""
    found: list[list[float]] = [[] for _ in work]
    for i in range(runs + 3):
        for own, f in zip(found, work, strict=True):
            start = time.perf_counter()
            f()
            if i >= 3:
                own.append(time.perf_counter() - start)
    return found


def measure(kind: str, case: Case, runs: int, peers: bool) -> dict[str, object]:
    torch.manual_seed(0)
    width = case.sizes[1] * (1 + case.bidirectional)
    x = torch.randn(case.steps, case.batch, case.sizes[0], requires_grad=True)
    grad = torch.randn(case.steps, case.batch, width)
    nets = [
        TORCH[kind](*case.sizes, bidirectional=case.bidirectional),
        OURS[kind](*case.sizes, bidirectional=case.bidirectional),
    ]
    if peers:
        nets.append(spikingjelly(kind)(*case.sizes, bidirectional=case.bidirectional))

    def both(net: nn.Module) -> Callable[[], None]:
        def run() -> None:
            net(x)[0].backward(grad)

        return run

    reference, ours, *others = times([both(net) for net in nets], runs)
    ratios = [a / b for a, b in zip(ours, reference, strict=True)]
    row: dict[str, object] = {
        "cell": kind,
        "case": case.name,
        "torch_ms": 1e3 * statistics.median(reference),
        "sj_ms": 1e3 * statistics.median(ours),
        "ratio": statistics.median(ratios),
        "reach": REACH[kind],
        "kept_mib": kept_bytes(nets[1], x) / 2**20,
    }
    if others:
        peer = [a / b for a, b in zip(others[0], reference, strict=True)]
        row["spikingjelly_ratio"] = statistics.median(peer)
        row["spikingjelly_kept_mib"] = kept_bytes(nets[2], x) / 2**20
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("--backend", choices=("auto", "torch"), default="auto")
    args, _ = parser.parse_known_args()
    keep_pages()
    if args.backend == "torch":
        backend.kernels = lambda: None  # type: ignore[assignment]
    rows = []
    for case in CASES:
        for kind in OURS:
            row = measure(kind, case, args.runs, args.peers)
            rows.append(row)
            if not args.json:
                line = (
                    f"{row['cell']:8} {row['case']:20} torch {row['torch_ms']:8.2f} ms   "
                    f"sj-rnn {row['sj_ms']:8.2f} ms   ratio {row['ratio']:5.2f} "
                    f"(reach {row['reach']})   kept {row['kept_mib']:7.2f} MiB"
                )
                if args.peers:
                    line += (
                        f"   SpikingJelly {row['spikingjelly_ratio']:5.2f}, "
                        f"{row['spikingjelly_kept_mib']:.1f} MiB"
                    )
                print(line, flush=True)
    if args.json:
        print(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()

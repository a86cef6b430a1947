"""Bars G1 to G3 on a CUDA device; says so and stops without one.

    nox -s bench -- bench_gpu.py [--peers] [--json FILE]
    python tests/benchmarks/bench_gpu.py --once     each kernel of G1 a single time, for a profiler

G1: bytes per second of LIF forward (x in, s out) and backward (grad_s and x in, grad_x out) against
those of a device-to-device copy. G2 (`--peers`): time of spikingjelly's LIFNode over this one's.
G3: a training step of the net of `bench_net.py` over that of its ReLU twin.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
from collections.abc import Callable
from functools import partial
from pathlib import Path

import bench_net
import torch

from sj_core import neuron, surrogate

# Each tensor has 67 MB and more in float16, beyond the second-level cache of Hopper cards.
SHAPES = [(4, 128, 65536), (16, 64, 65536), (64, 64, 32768)]
AHEAD = 2_000_000  # cycles, about a millisecond


def seconds(call: Callable[[], object], runs: int = 30) -> float:
    """Median time that a call takes on the device, on the current stream."""
    for _ in range(5):
        call()
    times = []
    for _ in range(runs):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        # The device waits until all of the call is queued: else the way to its kernels through
        # Python, tens of microseconds, would count as theirs.
        torch.cuda._sleep(AHEAD)
        start.record()
        call()
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end) * 1e-3)
    return statistics.median(times)


def case(
    shape: tuple[int, ...], dtype: torch.dtype
) -> tuple[torch.Tensor, torch.Tensor, Callable[[], torch.Tensor]]:
    """Input, incoming gradient, and the neuron's forward."""
    x = (torch.randn(shape, device="cuda") + 0.5).to(dtype).requires_grad_()
    node = neuron.LIFNode(
        surrogate_function=surrogate.ATan(), detach_reset=True, step_mode="m", backend="native"
    )

    def forward() -> torch.Tensor:
        node.reset()
        return node(x)

    return x, torch.randn_like(x), forward


def measure(shape: tuple[int, ...], dtype: torch.dtype, peers: bool) -> dict[str, object]:
    x, grad, forward = case(shape, dtype)
    size = x.numel() * x.element_size()
    target = torch.empty_like(x)
    copy = 2 * size / seconds(lambda: target.copy_(x.detach()))
    kept = forward()
    both = seconds(lambda: torch.autograd.grad(forward(), x, grad))
    row: dict[str, object] = {
        "shape": list(shape),
        "dtype": str(dtype).removeprefix("torch."),
        "copy GB/s": copy * 1e-9,
        "forward": 2 * size / seconds(forward) / copy,
        "backward": 3
        * size
        / seconds(lambda: torch.autograd.grad(kept, x, grad, retain_graph=True))
        / copy,
    }
    if peers:
        row["G2"] = peer_seconds(x, grad) / both
    return row


def peer_seconds(x: torch.Tensor, grad: torch.Tensor) -> float:
    """Time of spikingjelly's best backend; version 2 has none to choose, and chooses by itself."""
    from spikingjelly.activation_based import functional, neuron, surrogate

    peer = neuron.LIFNode(
        surrogate_function=surrogate.ATan(), detach_reset=True, step_mode="m"
    ).cuda()

    def call() -> object:
        functional.reset_net(peer)
        return torch.autograd.grad(peer(x), x, grad)

    times = []
    for backend in getattr(peer, "supported_backends", (None,)):
        try:
            if backend is not None:
                peer.backend = backend
            times.append(seconds(call))
        except Exception as error:  # a backend that cannot be had here
            print(f"spikingjelly, backend {backend}: {error}")
    return min(times, default=float("nan"))


def report(rows: list[dict[str, object]], make: Callable[[], dict[str, object]]) -> None:
    """Add a row and print it at once: what fails later takes nothing away."""
    rows.append(make())
    row = rows[-1]
    print({k: round(v, 3) if isinstance(v, float) else v for k, v in row.items()}, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peers", action="store_true", help="time spikingjelly too (G2)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to FILE")
    parser.add_argument("--once", action="store_true", help="run each kernel of G1 once, untimed")
    args, _ = parser.parse_known_args()
    if not torch.cuda.is_available():
        print("No CUDA device: G1 to G3 are not measured.")
        return
    cases = [(shape, dtype) for dtype in (torch.float32, torch.float16) for shape in SHAPES]
    if args.once:
        for shape, dtype in cases:
            x, grad, forward = case(shape, dtype)
            torch.autograd.grad(forward(), x, grad)
        torch.cuda.synchronize()
        return
    print(torch.cuda.get_device_name(), torch.__version__, flush=True)
    rows: list[dict[str, object]] = []
    nets: list[dict[str, object]] = []
    try:
        print("G1: share of the copy's bandwidth, reach 0.85; G2: reach 1.3")
        for shape, dtype in cases:
            report(rows, partial(measure, shape, dtype, args.peers))
        print("G3: a training step of the SNN / of its ReLU twin, reach 1.1")
        for amp, channels_last in itertools.product((False, True), repeat=2):
            report(nets, partial(bench_net.row, 64, channels_last, 20, "cuda", amp))
    finally:
        if args.json:
            args.json.write_text(json.dumps({"neurons": rows, "nets": nets}))


if __name__ == "__main__":
    main()

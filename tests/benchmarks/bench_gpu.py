"""Bars G1 to G3 on a CUDA device; says so and stops without one.

    nox -s bench -- bench_gpu.py [--peers] [--json FILE]

G1: bytes per second of LIF forward (x in, s out) and backward (grad_s and x in, grad_x out) against
those of a device-to-device copy. G2 (`--peers`): time of spikingjelly's LIFNode over this one's.
G3: a training step of the net of `bench_net.py` over that of its ReLU twin.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable
from pathlib import Path

import bench_net
import torch

from sj_core import neuron, surrogate

SHAPES = [(4, 64, 65536), (16, 64, 65536), (64, 64, 32768)]


def seconds(call: Callable[[], object], runs: int = 30) -> float:
    """Median time of a call on the current stream."""
    for _ in range(5):
        call()
    times = []
    for _ in range(runs):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        call()
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end) * 1e-3)
    return statistics.median(times)


def measure(shape: tuple[int, ...], dtype: torch.dtype, peers: bool) -> dict[str, object]:
    x = (torch.randn(shape, device="cuda") + 0.5).to(dtype).requires_grad_()
    grad = torch.randn_like(x)
    size = x.numel() * x.element_size()
    target = torch.empty_like(x)
    copy = 2 * size / seconds(lambda: target.copy_(x.detach()))
    node = neuron.LIFNode(
        surrogate_function=surrogate.ATan(), detach_reset=True, step_mode="m", backend="native"
    )

    def forward() -> torch.Tensor:
        node.reset()
        return node(x)

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
        from spikingjelly.activation_based import (
            functional as peer_functional,
            neuron as peer_neuron,
            surrogate as peer_surrogate,
        )

        best = float("inf")
        for backend in ("torch", "cupy", "triton"):
            try:
                peer = peer_neuron.LIFNode(
                    surrogate_function=peer_surrogate.ATan(), detach_reset=True,
                    step_mode="m", backend=backend,
                ).cuda()  # fmt: skip

                def theirs(peer: torch.nn.Module = peer) -> object:
                    peer_functional.reset_net(peer)
                    return torch.autograd.grad(peer(x), x, grad)

                best = min(best, seconds(theirs))
            except Exception as error:
                print(f"spikingjelly, backend {backend}: {error}")
        row["G2"] = best / both
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peers", action="store_true", help="time spikingjelly too (G2)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to FILE")
    args, _ = parser.parse_known_args()
    if not torch.cuda.is_available():
        print("No CUDA device: G1 to G3 are not measured.")
        return
    rows = [
        measure(shape, dtype, args.peers)
        for dtype in (torch.float32, torch.float16)
        for shape in SHAPES
    ]
    nets = [
        bench_net.row(64, channels_last, 20, "cuda", amp)
        for amp in (False, True)
        for channels_last in (False, True)
    ]
    print(torch.cuda.get_device_name(), torch.__version__)
    print("G1: share of the copy's bandwidth, reach 0.85; G2: reach 1.3")
    for row in rows:
        print({key: round(v, 3) if isinstance(v, float) else v for key, v in row.items()})
    print("G3: a training step of the SNN / of its ReLU twin, reach 1.1")
    for row in nets:
        print("  ".join(str(value) for value in row.values()))
    if args.json:
        args.json.write_text(json.dumps({"neurons": rows, "nets": nets}))


if __name__ == "__main__":
    main()

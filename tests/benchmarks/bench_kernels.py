"""Bars P1, P1s, P2, P3, P6, P8, P11 of the fused neurons on the CPU.

    nox -s bench -- bench_kernels.py [--peers] [--json FILE] [--default-allocator] [--only P1 P8]

Each figure is the ratio of two things timed in one process, in turn, the median of the runs after a
warm-up. glibc's allocator is told to keep its pages, as `docs/benchmarks` explains; P1 to P3 follow
once more with the allocator as it is. `--peers` times spikingjelly's multi-step LIFNode too (P3).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from allocator import keep_pages
from kernel_memory import p6
from timing import Row, fresh, lif, pair, ratios, training
from torch import Tensor

from sj_core import functional, neuron, surrogate

LARGE = [(4, 64, 32768), (32, 64, 4096), (500, 16, 512)]
ODD = [(7, 48, 5000), (33, 17, 1001)]


def p1() -> list[Row]:
    rows: list[Row] = []
    variants: list[tuple[str, neuron.BaseNode, float]] = [
        ("LIF", lif(), 0.85),
        ("soft reset", lif(v_reset=None), 1.25),
        ("not detached", lif(detach_reset=False), 1.25),
        ("IF", lif(neuron.IFNode), 1.25),
        ("Sigmoid", lif(surrogate_function=surrogate.Sigmoid()), 1.4),
        ("Erf", lif(surrogate_function=surrogate.Erf()), 1.4),
        ("ParametricLIF", lif(neuron.ParametricLIFNode), 1.4),
    ]
    for shape in LARGE + ODD:
        x, grad = pair(shape)
        calls = [training(fresh(node), x, grad) for _, node, _ in variants]
        found = ratios(training(torch.sigmoid, x, grad), calls)
        for (name, _, reach), ratio in zip(variants, found, strict=True):
            first = name == "LIF" and shape in LARGE
            reach = 1.25 if name == "LIF" and not first else reach
            rows.append(("P1" if first else "P1s", f"{name} {list(shape)}", ratio, reach))
    for shape in [(4, 64, 32768), (8, 16, 4096)]:
        x, grad = pair(shape, folded=True)
        (ratio,) = ratios(training(torch.sigmoid, x, grad), [training(fresh(lif()), x, grad)])
        rows.append(("P1s", f"channels-last {list(x.shape)}", ratio, 1.25))
    return rows


def p2() -> list[Row]:
    rows: list[Row] = []
    with torch.no_grad():
        for shape in LARGE:
            x, _ = pair(shape)
            call, x = fresh(lif()), x.detach()
            (ratio,) = ratios(lambda x=x: x * 2, [lambda x=x, call=call: call(x)])
            rows.append(("P2", f"forward {list(shape)}", ratio, 0.9))
    return rows


def p3(default_allocator: bool = False) -> list[Row]:
    from spikingjelly.activation_based import (
        functional as peer_functional,
        neuron as peer_neuron,
        surrogate as peer_surrogate,
    )

    rows: list[Row] = []
    for shape, reach in zip(
        LARGE, (5.0,) * 3 if default_allocator else (10.0, 10.0, 30.0), strict=True
    ):
        x, grad = pair(shape)
        peer = peer_neuron.LIFNode(
            surrogate_function=peer_surrogate.ATan(), detach_reset=True, step_mode="m"
        )

        def theirs(x: Tensor, peer: torch.nn.Module = peer) -> Tensor:
            peer_functional.reset_net(peer)
            return peer(x)

        (ratio,) = ratios(training(fresh(lif()), x, grad), [training(theirs, x, grad)], runs=7)
        rows.append(("P3", f"spikingjelly / this {list(shape)}", ratio, -reach))
    return rows


def p8() -> list[Row]:
    x, grad = pair((16, 512))
    node = fresh(lif(step_mode="s"))

    def chain(x: Tensor, steps: int = 1) -> Tensor:
        for _ in range(steps):
            x = ((x * 0.5) + 1.0).sigmoid()
        return x

    stepper = lif(step_mode="s")

    def eight(x: Tensor) -> Tensor:
        stepper.reset()
        total = stepper(x)
        for _ in range(7):
            total = stepper(x)
        return total

    (call,) = ratios(lambda: chain(x), [lambda: node(x)], repeat=50)
    reference = training(lambda x: chain(x, 8), x, grad)
    (steps,) = ratios(reference, [training(eight, x, grad)], repeat=10)
    return [("P8", "one step [16, 512]", call, 1.35), ("P8", "8 steps, backward", steps, 1.35)]


def p11() -> list[Row]:
    rows: list[Row] = []
    calls = []
    for T in (4, 16, 64, 256, 1024):
        x, grad = pair((T, 2**22 // T))
        calls.append(training(fresh(lif()), x, grad))
    # The reference is another call on other tensors: right behind itself, the first case would find
    # its own in the caches.
    x, grad = pair((4, 2**20))
    found = ratios(training(torch.sigmoid, x, grad), calls, runs=15)
    rows.append(("P11", "dearest T of 4 .. 1024 / cheapest", max(found) / min(found), 1.2))

    x, grad = pair((256, 8192))
    fading, fading_grad = x.detach().clone(), grad.clone()
    fading[4:] = fading_grad[:-4] = 0
    fading.requires_grad_()
    (ratio,) = ratios(
        training(fresh(lif()), x, grad), [training(fresh(lif()), fading, fading_grad)]
    )
    rows.append(("P11", "inputs that die away / ordinary", ratio, 1.2))

    x, grad = pair((32, 64, 4096))
    calls = [training(torch.sigmoid, x, grad), training(fresh(lif()), x, grad)]
    threads, speed = torch.get_num_threads(), []
    if threads > 1:
        for count in (1, 2):
            torch.set_num_threads(count)
            speed.append(ratios(calls[0], [calls[1]])[0])
        torch.set_num_threads(threads)
        # (sigmoid 1 / sigmoid 2) against (LIF 1 / LIF 2)
        rows.append(("P11", "speed-up 1 to 2 threads / sigmoid's", speed[0] / speed[1], -0.85))
    return rows


BARS: dict[str, Callable[[], list[Row]]] = {
    "P1": p1, "P2": p2, "P3": p3, "P6": p6, "P8": p8, "P11": p11,
}  # fmt: skip


def table(bars: list[str], peers: bool, default_allocator: bool) -> list[Row]:
    """Time the bars one after the other and print each as it is found."""
    if not default_allocator:
        keep_pages()
    torch.manual_seed(0)
    functional.reset_net(lif())  # imports done
    rows: list[Row] = []
    for bar in bars:
        if bar == "P3" and not peers:
            continue
        found = p3(default_allocator) if bar == "P3" else BARS[bar]()
        for name, what, ratio, reach in found:
            met = ratio >= -reach if reach < 0 else ratio <= reach
            sign = ">=" if reach < 0 else "<="
            verdict = "" if met else "missed"
            print(f"{name:4} {what:42} {ratio:8.3f}  {sign} {abs(reach):<5} {verdict}", flush=True)
        rows += found
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peers", action="store_true", help="time spikingjelly too (P3)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to FILE")
    parser.add_argument("--default-allocator", action="store_true", help="leave glibc as it is")
    parser.add_argument("--only", nargs="+", choices=BARS, default=list(BARS))
    args = parser.parse_args()
    rows = table(args.only, args.peers, args.default_allocator)
    if args.json:
        keys = ("bar", "what", "ratio", "reach")
        args.json.write_text(json.dumps([dict(zip(keys, row, strict=True)) for row in rows]))
    again = [bar for bar in args.only if bar in ("P1", "P2", "P3")]
    if again and not args.default_allocator:
        print("\nwith the allocator's defaults", flush=True)
        peers = ["--peers"] if args.peers else []
        command = [sys.executable, __file__, "--default-allocator", *peers, "--only", *again]
        subprocess.run(command, check=True)


if __name__ == "__main__":
    sys.exit(main())

"""P8: one single-step LIF call at [16, 512] in training, and 8 steps with backward.

    nox -s bench -- step

The reference is three elementwise operations of torch with autograd. Timed in one process, in
turn; the median of the ratios. Reach: 1.35.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable

import torch

from sj_core import functional, neuron, surrogate

SHAPE = (16, 512)
INNER = 50


def timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    for _ in range(INNER):
        work()
    return time.perf_counter() - start


def ratio(work: Callable[[], object], reference: Callable[[], object], runs: int) -> float:
    found = [timed(work) / timed(reference) for _ in range(runs + 3)]
    return statistics.median(found[3:])


def rows(runs: int, peers: bool) -> list[dict[str, object]]:
    torch.manual_seed(0)
    x = torch.rand(SHAPE, requires_grad=True)
    factor = torch.rand(SHAPE)

    def three(x: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(x * factor + factor)

    def reference_8() -> None:
        y = x
        for _ in range(8):
            y = three(y)
        y.sum().backward()
        x.grad = None

    def reference_1() -> None:
        three(x)

    nodes: dict[str, torch.nn.Module] = {
        "sj-core, auto": neuron.LIFNode(surrogate_function=surrogate.ATan(), detach_reset=True),
        "sj-core, torch": neuron.LIFNode(
            surrogate_function=surrogate.ATan(), detach_reset=True, backend="torch"
        ),
    }
    if peers:
        from spikingjelly.activation_based import neuron as peer, surrogate as peer_surrogate

        nodes["SpikingJelly"] = peer.LIFNode(
            surrogate_function=peer_surrogate.ATan(), detach_reset=True
        )
    table: list[dict[str, object]] = []
    for name, node in nodes.items():

        def one(node: torch.nn.Module = node) -> None:
            node.__dict__["v"] = 0.0
            node(x)

        def eight(node: torch.nn.Module = node) -> None:
            functional.reset_net(node)
            y = x
            for _ in range(8):
                y = node(y)
            y.sum().backward()
            x.grad = None

        kind = node.resolve_backend(x) if isinstance(node, neuron.BaseNode) else "torch"
        table.append(
            {
                "node": name,
                "backend": kind,
                "one step": round(ratio(one, reference_1, runs), 2),
                "8 steps with backward": round(ratio(eight, reference_8, runs), 2),
                "bar": 1.35 if name == "sj-core, auto" else None,
            }
        )
        print("  ".join(str(value) for value in table[-1].values()), flush=True)
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print the rows as JSON at the end")
    parser.add_argument("--peers", action="store_true", help="SpikingJelly too")
    parser.add_argument("--runs", type=int, default=20)
    arguments = parser.parse_args()
    print("P8: time / three elementwise operations with autograd; node, backend, 1 step, 8 steps")
    table = rows(arguments.runs, arguments.peers)
    if arguments.json:
        print(json.dumps(table, indent=1))


if __name__ == "__main__":
    main()

"""P4: a training step of a 4-conv BatchNorm SNN against the same net with ReLU on T*N images.

    nox -s bench -- net

T = 4, batch 16, 3 x 32 x 32, 64 and 128 channels; two thin variants and channels-last too. Timed in
one process, in turn, the median of the ratios; glibc's allocator keeps its pages. Reach: 1.05.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable

import torch
from allocator import keep_pages
from torch import Tensor, nn

from sj_core import functional, layer, neuron, surrogate

T, BATCH = 4, 16


def net(kit: object, activation: Callable[[], nn.Module], width: int) -> nn.Sequential:
    k = kit

    def block(cin: int, cout: int) -> list[nn.Module]:
        return [
            k.Conv2d(cin, cout, 3, padding=1, bias=False),  # type: ignore[attr-defined]
            k.BatchNorm2d(cout),  # type: ignore[attr-defined]
            activation(),
        ]

    return nn.Sequential(
        *block(3, width),
        *block(width, width),
        k.AvgPool2d(2),  # type: ignore[attr-defined]
        *block(width, 2 * width),
        *block(2 * width, 2 * width),
        k.AvgPool2d(2),  # type: ignore[attr-defined]
        k.Flatten(),  # type: ignore[attr-defined]
        k.Linear(2 * width * 64, 10),  # type: ignore[attr-defined]
    )


def lif() -> nn.Module:
    return neuron.LIFNode(detach_reset=True, surrogate_function=surrogate.ATan())


def row(
    width: int, channels_last: bool, runs: int, device: str = "cpu", amp: bool = False
) -> dict[str, object]:
    torch.manual_seed(0)
    snn, ann = (m.to(device) for m in (net(layer, lif, width), net(nn, nn.ReLU, width)))
    functional.set_step_mode(snn, "m")
    x = torch.rand(T * BATCH, 3, 32, 32, device=device)
    label = torch.randint(0, 10, (BATCH,), device=device)
    if channels_last:
        snn, ann = (m.to(memory_format=torch.channels_last) for m in (snn, ann))
        x = x.to(memory_format=torch.channels_last)
    x_seq = x.unflatten(0, (T, BATCH))
    optimizers = [torch.optim.SGD(m.parameters(), lr=0.01) for m in (snn, ann)]
    scaler = torch.amp.GradScaler(device, enabled=amp and device == "cuda")

    def now() -> float:
        if device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()

    def step(module: nn.Module, optimizer: torch.optim.Optimizer, images: Tensor) -> float:
        start = now()
        optimizer.zero_grad()
        with torch.autocast(device, enabled=amp):
            out = module(images).view(T, BATCH, 10).mean(0)
            loss = nn.functional.cross_entropy(out, label)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        functional.reset_net(module)
        return now() - start

    ratios = [
        step(snn, optimizers[0], x_seq) / step(ann, optimizers[1], x) for _ in range(runs + 2)
    ]
    return {
        "net": f"{width} and {2 * width} channels",
        "layout": ("channels-last" if channels_last else "contiguous") + (", AMP" if amp else ""),
        "ratio": round(statistics.median(ratios[2:]), 3),
        "bar": 1.05 if device == "cpu" else 1.1,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print the rows as JSON at the end")
    parser.add_argument("--peers", action="store_true", help="taken and ignored: no peer here")
    parser.add_argument("--runs", type=int, default=20)
    arguments = parser.parse_args()
    keep_pages()
    print("P4: a training step of the SNN / of its ReLU twin on T*N images; reach 1.05")
    rows = []
    for width in (64, 32, 16):
        for channels_last in (False, True):
            rows.append(row(width, channels_last, arguments.runs))
            print("  ".join(str(value) for value in rows[-1].values()), flush=True)
    if arguments.json:
        print(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()

"""P10: a converted CNN over T = 32 in step mode 'm', against 32 forward passes of the network.

    nox -s bench -- convert
    nox -s bench -- convert --accuracy      the accuracy table on the digits instead

One process, the two interleaved, median of the ratios; glibc's allocator keeps its pages, as
`docs/benchmarks` explains. Reach: 0.8.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from allocator import keep_pages
from torch import Tensor, nn

from sj_convert import Converter, accuracy_over_time
from sj_core import functional

ZOO = Path(__file__).parents[2] / "packages" / "sj-convert" / "tests"
T = 32


def cnn(pool: Callable[[int], nn.Module], width: int) -> nn.Sequential:
    def block(cin: int, cout: int) -> list[nn.Module]:
        conv = nn.Conv2d(cin, cout, 3, padding=1, bias=False)
        return [conv, nn.BatchNorm2d(cout), nn.ReLU(inplace=True)]

    return nn.Sequential(
        *(*block(3, width), *block(width, width), pool(2)),
        *(*block(width, 2 * width), *block(2 * width, 2 * width), pool(2)),
        *(nn.Flatten(), nn.Linear(2 * width * 64, 10)),
    ).eval()


def ratio(work: Callable[[], object], reference: Callable[[], object], runs: int) -> list[float]:
    """Times of `work` over those of `reference`, run in turn, after a warm-up."""
    found = []
    for i in range(runs + 3):
        start = time.perf_counter()
        work()
        middle = time.perf_counter()
        reference()
        end = time.perf_counter()
        if i >= 3:
            found.append((middle - start) / (end - middle))
    return found


def speed(runs: int) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    settings = {
        "recommended": lambda x: Converter.recommended([x], T),
        "recommended, neuron='signed'": lambda x: Converter.recommended([x], T, neuron="signed"),
        "published, mode='99.9%'": lambda x: Converter([x], mode="99.9%"),
    }
    for pool in (nn.AvgPool2d, nn.MaxPool2d):
        for width, batch in ((64, 1), (32, 8)):
            torch.manual_seed(0)
            ann = cnn(pool, width)
            x = torch.rand(batch, 3, 32, 32)
            x_seq = x.unsqueeze(0).repeat(T, 1, 1, 1, 1)
            for name, make in settings.items():
                snn = make(x)(ann)
                functional.set_step_mode(snn, "m")

                def convert(snn: nn.Module = snn, x_seq: Tensor = x_seq) -> None:
                    functional.reset_net(snn)
                    snn(x_seq)

                def passes(ann: nn.Module = ann, x: Tensor = x) -> None:
                    for _ in range(T):
                        ann(x)

                with torch.inference_mode():
                    ratios = ratio(convert, passes, runs if name == "recommended" else runs // 4)
                kind = type(next(m for m in snn.modules() if hasattr(m, "resolve_backend")))
                rows.append(
                    {
                        "net": f"{pool.__name__}, {width} channels, batch {batch}",
                        "conversion": name,
                        "ratio": round(statistics.median(ratios), 3),
                        "neuron": kind.__name__,
                        "bar": 0.8 if name == "recommended" else None,
                    }
                )
                print("  ".join(f"{value}" for value in rows[-1].values()), flush=True)
    return rows


def accuracies(seeds: int, names: list[str]) -> list[dict[str, object]]:
    """Accuracy on the digits, mean over training seeds, of each way to convert."""
    sys.path.insert(0, str(ZOO))
    from convert_zoo import ZOO as NETS, accuracy, digits, train

    steps = (2, 4, 8, 16, 32)
    ways: dict[str, Callable[[list[Tensor], int], Converter]] = {
        "max": lambda data, _: Converter(data, mode="max"),
        "99.9%": lambda data, _: Converter(data, mode="99.9%"),
        "recommended": lambda data, t: Converter.recommended(data, t),
    }
    rows: list[dict[str, object]] = []
    for name in names or list(NETS):
        ann_accuracy = 0.0
        sums = {way: [0.0] * len(steps) for way in ways}
        for seed in range(seeds):
            ann = train(NETS[name], seed)
            x, _, x_test, y_test = digits(seed)
            data = [x[i : i + 128] for i in range(0, len(x), 128)]
            with torch.no_grad():
                ann_accuracy += accuracy(ann(x_test), y_test) / seeds
            for way, make in ways.items():
                over_time: list[float] = []
                for i, t in enumerate(steps):
                    if way == "recommended" or not over_time:
                        snn = make(data, t)(ann)
                        functional.set_step_mode(snn, "m")
                        last = t if way == "recommended" else steps[-1]
                        over_time = accuracy_over_time(snn, [(x_test, y_test)], last)
                    sums[way][i] += 100 * over_time[t - 1] / seeds
        print(f"{name:12s} {'ANN':12s} {ann_accuracy:6.2f}")
        for way, values in sums.items():
            print(f"{'':12s} {way:12s} " + " ".join(f"{v:6.2f}" for v in values), flush=True)
            accuracy_at = dict(zip(map(str, steps), (round(v, 2) for v in values), strict=True))
            rows.append({"net": name, "way": way, "ann": round(ann_accuracy, 2), **accuracy_at})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print the rows as JSON at the end")
    parser.add_argument("--peers", action="store_true", help="taken and ignored: no peer here")
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--accuracy", action="store_true", help="the accuracy table instead")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--nets", nargs="*", default=[], help="of the accuracy table")
    arguments = parser.parse_args()
    keep_pages()
    if arguments.accuracy:
        print(f"{'':25s} accuracy in % at T = 2, 4, 8, 16, 32")
        rows = accuracies(arguments.seeds, arguments.nets)
    else:
        print(f"P10: time of the SNN over T = {T} / {T} passes of the ANN; reach 0.8")
        rows = speed(arguments.runs)
    if arguments.json:
        print(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()

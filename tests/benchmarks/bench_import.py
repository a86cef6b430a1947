"""P9: the wall time of `import sj_core` beyond `import torch`, and the packages it brings.

    nox -s bench -- import

Each run is a process of its own that imports torch first. Reach: 0.05 s, no further package.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys

PROBE = """
import json, sys, time
import torch
before = set(sys.modules)
start = time.perf_counter()
import sj_core
seconds = time.perf_counter() - start
brought = sorted({name.split(".")[0] for name in set(sys.modules) - before} - {"sj_core"})
print(json.dumps([seconds, [name for name in brought if name not in sys.stdlib_module_names]]))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print the row as JSON at the end")
    parser.add_argument("--peers", action="store_true", help="taken and ignored: no peer here")
    parser.add_argument("--runs", type=int, default=20)
    arguments = parser.parse_args()
    seconds, brought = [], set()
    for run in range(arguments.runs + 1):
        done = subprocess.run(
            [sys.executable, "-c", PROBE], capture_output=True, text=True, check=True
        )
        one, more = json.loads(done.stdout)
        brought |= set(more)
        if run:  # the first compiles
            seconds.append(one)
    row = {"seconds": round(statistics.median(seconds), 4), "bar": 0.05, "brings": sorted(brought)}
    print(
        f"P9: import sj_core beyond torch: {row['seconds']} s (reach 0.05), brings {brought or {}}"
    )
    if arguments.json:
        print(json.dumps([row], indent=1))


if __name__ == "__main__":
    main()

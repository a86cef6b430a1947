"""metrics.csv: one row per epoch."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from pathlib import Path


def write_metrics(path: Path, history: Sequence[dict[str, float]]) -> None:
    """Writes all rows to a temporary file and renames it, so that a reader never sees half."""
    names = list(dict.fromkeys(name for row in history for name in row))
    temporary = path.with_name(f".{path.name}.tmp")
    with temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        for row in history:
            writer.writerow({name: f"{value:.6g}" for name, value in row.items()})
    os.replace(temporary, path)

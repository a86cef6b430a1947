"""What a run writes down for people and scripts; a reader never sees half a file."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def write_whole(path: Path, text: str) -> None:
    """Writes a temporary file and renames it, so that a kill leaves the old content or the new."""
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(text, newline="")
    os.replace(temporary, path)


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Writes settings or results, `None` and all, as JSON."""
    write_whole(path, json.dumps(values, indent=2) + "\n")


def write_metrics(path: Path, history: Sequence[dict[str, float]]) -> None:
    """Writes metrics.csv, a row per epoch."""
    names = list(dict.fromkeys(name for row in history for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, names)
    writer.writeheader()
    for row in history:
        writer.writerow({name: f"{value:.6g}" for name, value in row.items()})
    write_whole(path, text.getvalue())

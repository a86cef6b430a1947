"""What a run writes down for people and scripts; a reader never sees half a file."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sj_train.fit.errors import WriteError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Where to write what then replaces `path`, so that a kill leaves the old content or the new.

    Raises:
        WriteError: it cannot be written; nothing is left of it.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    except Exception as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        if (cause := _of_the_system(error)) is None:
            raise
        reason = cause.strerror or str(cause)
        raise WriteError(cause.errno, reason, str(path)) from error


def _of_the_system(error: BaseException | None) -> OSError | None:
    # torch.save has an error of its own for a disk that is full, while it handles the system's.
    while error is not None and not isinstance(error, OSError):
        error = error.__cause__ or error.__context__
    return error


def write_whole(path: Path, text: str) -> None:
    """Writes a file in place of the one that is there."""
    with replacing(path) as temporary:
        temporary.write_text(text, newline="")


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

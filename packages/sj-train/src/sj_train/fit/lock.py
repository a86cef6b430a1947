"""One process at a time writes into a run folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sj_train.fit.errors import RunError

fcntl: Any
try:
    import fcntl
except ImportError:  # Windows has none: there nothing is checked.
    fcntl = None

LOCK = ".lock"


@contextmanager
def sole_writer(run: Path) -> Iterator[None]:
    """Inside, no other process may train into the run folder.

    The lock ends with the process, however that ends, and is not shared by processes that it
    starts, so that a run can go on at once after a kill.

    Raises:
        RunError: another process trains into it.
    """
    first = all(os.environ.get(name, "0") == "0" for name in ("RANK", "LOCAL_RANK"))
    if fcntl is None or not first:
        yield
        return
    try:
        file = (run / LOCK).open("w")
    except OSError:
        # What is written next tells what is wrong.
        yield
        return
    with file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError) as error:
            raise RunError(
                f"`{run}` is being trained by another process: wait for its end, or stop it."
            ) from error
        except OSError:
            pass  # A file system without locks.
        yield

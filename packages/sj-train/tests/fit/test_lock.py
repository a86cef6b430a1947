import subprocess
import sys

import pytest

from sj_train.fit import RunError
from sj_train.fit.lock import sole_writer

pytest.importorskip("fcntl", reason="locks files as POSIX does")

HOLDS = """
import sys
from pathlib import Path
from sj_train.fit.lock import sole_writer
with sole_writer(Path(sys.argv[1])):
    print("locked", flush=True)
    input()
"""


def test_one_process_at_a_time_and_the_next_as_soon_as_it_is_killed(tmp_path, monkeypatch):
    argv = [sys.executable, "-c", HOLDS, str(tmp_path)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "locked\n"
        with pytest.raises(RunError, match="is being trained by another process"):
            sole_writer(tmp_path).__enter__()
        # The other processes of a run write nothing, so they do not ask.
        monkeypatch.setenv("LOCAL_RANK", "1")
        with sole_writer(tmp_path):
            pass
        monkeypatch.delenv("LOCAL_RANK")
        other.kill()
        other.wait()
        with sole_writer(tmp_path):
            pass


def test_a_folder_that_cannot_hold_a_lock_is_left_to_what_is_written_next(tmp_path):
    with sole_writer(tmp_path / "nowhere"):
        pass
    assert list(tmp_path.iterdir()) == []

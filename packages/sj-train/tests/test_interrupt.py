"""Interrupts aimed at the very places where Python's own way of raising them does harm."""

import importlib.util
import os
import signal
import subprocess
import sys
import textwrap

import pytest

from sj_train._interrupt import asking, heard

LIGHTNING = pytest.mark.skipif(
    importlib.util.find_spec("lightning") is None, reason="needs the extra sj-train[fit]"
)
SETTINGS = ["fit", "--model", "mlp", "--width", "8", "--time-steps", "2", "--batch-size", "64"]
SETTINGS += ["--epochs", "3", "--no-progress", "--output"]


def ended(script):
    """A process of its own, started as by a person: shells have background jobs ignore Ctrl-C."""
    start = """
    import os, queue, signal, sys, threading, time
    signal.signal(signal.SIGINT, signal.default_int_handler)
    def strike():
        signal.raise_signal(signal.SIGINT)
    """
    lines = [sys.executable, "-c", textwrap.dedent(start) + textwrap.dedent(script)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(lines, capture_output=True, text=True, timeout=240, env=environment)


def ended_run(run, preparation):
    """The command after `preparation`, a script that aims an interrupt."""
    return ended(f"""
{textwrap.dedent(preparation)}
sys.argv = ["sj-train", *{[*SETTINGS, str(run)]}]
from sj_train.__main__ import main
sys.exit(main())
""")


def how_to_go_on(run):
    return f"Stopped. Go on with: sj-train fit --resume {run}"


@LIGHTNING
def test_inside_the_lock_of_a_writers_queue(tmp_path):
    # Raised there, the lock would be taken for good, and the writer's end waited for for ever.
    pytest.importorskip("tensorboard", reason="needs the extra sj-train[tensorboard]")
    run = tmp_path / "run"
    process = ended_run(
        run,
        f"""
        class Aimed(threading.Condition):
            def __enter__(self):
                value = super().__enter__()
                if os.path.exists({str(run / "metrics.csv")!r}):
                    strike()
                return value
        init = queue.Queue.__init__
        def aimed(self, *args):
            init(self, *args)
            self.not_full = Aimed(self.mutex)
        queue.Queue.__init__ = aimed
        """,
    )
    assert process.returncode == 130, process.stderr
    assert process.stderr.strip() == how_to_go_on(run)
    assert (run / "checkpoints" / "last.ckpt").exists()


@LIGHTNING
def test_inside_a_destructor(tmp_path):
    # Raised there, it would be printed with a traceback, and training would go on.
    process = ended_run(
        tmp_path / "run",
        """
        class Aimed:
            def __del__(self):
                strike()
        import lightning.pytorch.trainer.trainer as module
        fit = module.Trainer.fit
        def aimed(self, *args, **kwargs):
            Aimed()
            return fit(self, *args, **kwargs)
        module.Trainer.fit = aimed
        """,
    )
    assert process.returncode == 130, process.stderr
    assert process.stderr.strip() == how_to_go_on(tmp_path / "run")


def test_inside_an_import_that_hides_it(tmp_path):
    process = ended_run(
        tmp_path / "run",
        """
        class Aimed:
            def find_spec(self, name, path=None, target=None):
                if name in ("torch", "lightning"):
                    try:
                        strike()
                    except BaseException:
                        raise ImportError("multiarray failed to import") from None
        sys.meta_path.insert(0, Aimed())
        """,
    )
    assert process.returncode == 130, process.stderr
    assert process.stderr.strip() == "sj-train fit: error: interrupted."
    assert not (tmp_path / "run").exists()


ASKED = """
from sj_train import _interrupt
_interrupt.PATIENCE = 0.5
_interrupt.listen()
_interrupt.last_words("Stopped.")
with _interrupt.asking(lambda: os.write(2, b"Others ended.")) as interrupt:
    strike()
    assert interrupt.heard
"""


@pytest.mark.parametrize(
    "then",
    [
        "    time.sleep(200)",
        "    strike()",
        # A pipe that nobody reads: what waits to be written to it never is.
        "    os.dup2(os.pipe()[1], 1)\n    while True: print('word' * 3000, flush=True)",
    ],
    ids=["no end", "asked twice", "no reader"],
)
def test_where_asking_is_no_help_the_process_is_ended(then):
    process = ended(ASKED + then)
    assert process.returncode == 130
    assert process.stderr.split("\n") == ["Others ended.", "Stopped.", ""]


# The main thread takes a lock twice in C, and so comes to no bytecode where a handler could run.
BLOCKED = """
import ctypes
threading.Timer(0.2, strike).start()
library, mutex = ctypes.CDLL(None), ctypes.create_string_buffer(256)
library.pthread_mutex_lock(mutex)
library.pthread_mutex_lock(mutex)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="calls glibc")
@pytest.mark.parametrize("asks", [True, False])
def test_it_is_heard_while_the_main_thread_waits_in_c(asks):
    listening = ASKED[: ASKED.index("with")]
    with_asking = "with _interrupt.asking(lambda: os.write(2, b'Others ended.')):"
    body = textwrap.indent(BLOCKED, "    ")
    process = ended(listening + (with_asking if asks else "if True:") + body)
    assert process.returncode == 130
    assert process.stderr.split("\n") == ["Others ended." if asks else "", "Stopped.", ""]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_one_that_strikes_a_forked_worker_alone_is_not_heard():
    process = ended(
        ASKED[: ASKED.index("with")]
        + """
worker = os.fork()
if worker == 0:
    strike()
    os._exit(7)
with _interrupt.asking(print) as interrupt:
    status = os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1])
    time.sleep(1.5)
    print(status, interrupt.heard)
"""
    )
    assert (process.returncode, process.stdout) == (0, "7 False\n"), process.stderr


def test_afterwards_it_ends_the_process_at_once():
    process = ended(ASKED + "strike()\nprint('too late')")
    assert process.returncode == 130
    assert (process.stdout, process.stderr.strip()) == ("", "Stopped.")


@LIGHTNING
def test_while_the_interpreter_ends_the_work_counts_as_done():
    process = ended("""
        import atexit
        atexit.register(strike)
        sys.argv = ["sj-train", "info"]
        from sj_train.__main__ import main
        sys.exit(main())
    """)
    assert process.returncode == 0, process.stderr
    assert process.stderr == ""
    assert "sj-train" in process.stdout


def test_a_process_started_by_a_run_leaves_it_to_the_first_one():
    process = ended("""
        os.environ["SJ_TRAIN_RUN"] = "run"
        from sj_train._interrupt import listen
        listen()
        strike()
        print("goes on")
    """)
    assert process.stdout == "goes on\n", process.stderr


def test_where_it_is_ignored_it_stays_so():
    process = ended("""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        from sj_train._interrupt import asking, listen
        listen()
        strike()
        with asking(print) as interrupt:
            strike()
        print(interrupt.heard)
    """)
    assert process.stdout == "False\n", process.stderr


def test_in_a_process_of_somebody_else_nothing_is_left_behind():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with asking(pytest.fail) as interrupt:
            signal.raise_signal(signal.SIGINT)
            assert interrupt.heard
            assert heard()
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)
        assert not heard()
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)

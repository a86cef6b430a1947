"""Ctrl-C that is heard at any moment and strikes only where it does no harm.

Python raises KeyboardInterrupt between any two bytecodes of the main thread: inside the queue of a
writer's thread, where a lock is then never given back, or inside a destructor or the import of a C
extension, which swallow it. So nothing is raised where it strikes: training is asked to stop before
its next batch, and anything else ends with the process, for every file is whole or not there.

Nor does Python run a handler while the main thread is in C, for as long as that waits for another
process of a run: so a thread of its own hears the signal too, from the descriptor that C's handler
writes its number to.
"""

from __future__ import annotations

import _thread
import atexit
import os
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

PATIENCE = 5.0
"""Seconds that a batch has to end in after an interrupt."""

INTERRUPTED = 130
RUN_VARIABLE = "SJ_TRAIN_RUN"
"""Names the run folder to the processes that the first one of a run starts."""


class Listener:
    """What is done about SIGINT: the handler, and the words the process ends with.

    One that does not own the process never ends it: a second interrupt is raised as ever.
    """

    def __init__(self, owns_process: bool) -> None:
        self.owns_process = owns_process
        self.words, self.status = "sj-train: error: interrupted.", INTERRUPTED
        self.heard = False
        self.abandon: Callable[[], None] | None = None
        self._process = os.getpid()
        self._leaving, self._leaver = _thread.allocate_lock(), 0

    def __call__(self, number: int, frame: object) -> None:
        if os.getpid() != self._process:
            return  # In a forked worker, which the first process ends.
        if self.heard or self.abandon is None:
            if not self.owns_process:
                raise KeyboardInterrupt
            self.leave()
        self.heard = True

    def watch(self, signals: socket.socket) -> None:
        """Ends the process where asking is no help: too late, once more, or nobody to ask."""
        _next_interrupt(signals)
        if self.abandon is not None:
            _next_interrupt(signals, PATIENCE)
        self.leave()

    def leave(self) -> None:
        """Ends the process here and now, from whichever thread is the first to say so."""
        if not self._leaving.acquire(blocking=False):
            # Nothing more is done meanwhile, unless this interrupts the very thread that leaves.
            while self._leaver != _thread.get_ident():
                time.sleep(0.1)
            return
        self._leaver = _thread.get_ident()
        if self.abandon is not None:
            with suppress(Exception):
                self.abandon()
        with suppress(Exception):
            if _takes_words(sys.stdout.fileno()):
                sys.stdout.flush()
        words, self.words = self.words, ""
        with suppress(OSError):
            if words and _takes_words(2):
                os.write(2, f"\n{words}\n".encode())
        os._exit(self.status)


def _next_interrupt(signals: socket.socket, patience: float | None = None) -> None:
    # Other signals that Python handles come this way too.
    until = None if patience is None else time.monotonic() + patience
    while True:
        left = None if until is None else max(0.0, until - time.monotonic())
        if not select.select([signals], [], [], left)[0] or signal.SIGINT in signals.recv(64):
            return


def _takes_words(output: int) -> bool:
    # Into a full pipe that nobody reads, they would be written for ever.
    return os.name == "nt" or bool(select.select([], [output], [], 0)[1])


_listener: Listener | None = None


def listen() -> Listener:
    """From here on, an interrupt ends this process without a traceback.

    Where interrupts are ignored, as in a background job of a shell, they stay so; and the first
    process of a run ends those that it started.
    """
    global _listener
    _listener = Listener(owns_process=True)
    # Registered first, run last: what remains of the interpreter knows no handlers in Python.
    atexit.register(signal.signal, signal.SIGINT, signal.SIG_IGN)
    if RUN_VARIABLE in os.environ:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    elif signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _listener)
        _have_watched(_listener)
    return _listener


def _have_watched(listener: Listener) -> None:
    signals, wakeup = socket.socketpair()
    wakeup.setblocking(False)
    signal.set_wakeup_fd(wakeup.detach(), warn_on_full_buffer=False)
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_hear_for_nobody)
    # Not by `threading`, whose own locks the interrupted code may hold.
    _thread.start_new_thread(listener.watch, (signals,))


def _hear_for_nobody() -> None:
    # A forked worker shares the descriptor, and what strikes it alone is none of the run's concern.
    with suppress(ValueError):
        signal.set_wakeup_fd(-1)


def heard() -> bool:
    """Whether an interrupt asks to stop."""
    return _listener is not None and _listener.heard


def last_words(words: str) -> None:
    """What the process says should an interrupt end it from here on."""
    if _listener is not None and os.environ.get("LOCAL_RANK", "0") == "0":
        _listener.words = words


@contextmanager
def asking(abandon: Callable[[], None]) -> Iterator[Listener]:
    """Inside, the first interrupt only makes `heard` true; `abandon` is called if that is no help.

    In a process that is not ours, as that of a notebook, the second is raised.
    """
    global _listener
    before, known = signal.getsignal(signal.SIGINT), _listener
    listener = known or Listener(owns_process=False)
    main = threading.current_thread() is threading.main_thread()
    installs = known is None and main and before is signal.default_int_handler
    _listener, listener.abandon = listener, abandon
    if installs:
        signal.signal(signal.SIGINT, listener)
    try:
        yield listener
    finally:
        if installs:
            signal.signal(signal.SIGINT, before)
        _listener, listener.abandon = known, None

"""`python -m sj_train` is the command `sj-train`."""

import sys

from sj_train._interrupt import listen


def main() -> int:
    """The command, in a process of its own."""
    listener = listen()
    # Only now, for imports take time in which an interrupt must be heard.
    from sj_train.fit.cli import main as command

    status = command()
    # All is done: what interrupts the end of the interpreter only makes it sooner.
    listener.words, listener.status = "", status
    return status


if __name__ == "__main__":
    sys.exit(main())

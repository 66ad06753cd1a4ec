"""The command ``dsrlb``, also as ``python -m dsrlb``: everything else is loaded from here."""

from __future__ import annotations

import os
import signal


def main() -> None:
    """Run the command line.

    Loading it takes some tenths of a second, in which nothing is set yet: an interrupt just ends the process.
    """
    at_interrupt = signal.getsignal(signal.SIGINT)
    if at_interrupt is signal.default_int_handler:  # not when the parent wants it ignored
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    _open_what_is_closed()
    from dsrlb.cli import main as run

    signal.signal(signal.SIGINT, at_interrupt)
    run()


def _open_what_is_closed() -> None:
    """Let no socket become standard output because the parent closed that one (``>&-``)."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free: this one


if __name__ == "__main__":
    main()

"""The file of what is to hold over restarts: read at the start, written on a thread of its own.

A disk that is slow, full or gone keeps neither the control loop nor a packet waiting.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from dsrlb.control.kept import MOST_BYTES, Kept, People, Unfit, read, written
from dsrlb.errors import DsrlbError
from dsrlb.host.files import read_whole, replace_whole
from dsrlb.standing import Names

CLOSE_WITHIN_S = 2.0

Change = Callable[[Mapping[Names, Kept]], dict[Names, Kept]]
Told = Callable[[DsrlbError | None], None]  # on the thread of the file; None: it is on the disk

log = logging.getLogger("dsrlb")


def state_path(folder: str, instance: str) -> Path:
    """Return where an instance keeps what its operator said."""
    return Path(folder) / f"{instance}.json"


class Durable:
    """What is kept of each backend, as it is on the disk."""

    def __init__(self, path: Path) -> None:
        """Take the file's path; nothing is made yet."""
        self.path = path
        self.of: Mapping[Names, Kept] = {}  # replaced, never changed
        self._is_unfit = False  # what is there must not be lost
        self._wanted: queue.SimpleQueue[tuple[Change, People, Told] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def load(self, people: People) -> None:
        """Read the file, if there is one; what is wrong with it is logged, and left out."""
        try:
            content = read_whole(self.path, MOST_BYTES)
            self.of, wrong = ({}, []) if content is None else read(content, people)
        except (OSError, Unfit) as error:
            self._is_unfit = True
            why = getattr(error, "strerror", None) or error
            log.warning("what was made durable is lost: %s cannot be used: %s", self.path, why)
            return
        for sentence in wrong:
            log.warning("%s: %s; that is left out", self.path, sentence)

    def change(self, change: Change, people: People, told: Told) -> None:
        """Have a change on the disk, and tell what came of it; one after the other."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="durable", daemon=True)
            self._thread.start()
        self._wanted.put((change, people, told))

    def close(self) -> None:
        """End; what is still to be written has a moment."""
        if self._thread is not None:
            self._wanted.put(None)
            self._thread.join(CLOSE_WITHIN_S)
            self._thread = None

    # ------------------------------------------------------------------------- the thread

    def _run(self) -> None:
        while (wanted := self._wanted.get()) is not None:
            change, people, told = wanted
            told(self._write(change(self.of), people))

    def _write(self, of: Mapping[Names, Kept], people: People) -> DsrlbError | None:
        try:
            self._put_aside()
            replace_whole(self.path, written(of, people))
        except OSError as error:
            return DsrlbError(f"{self.path} cannot be written ({error.strerror or error})")
        self.of = of
        return None

    def _put_aside(self) -> None:
        """Keep what could not be used, for whoever wants to look at it."""
        if self._is_unfit:
            with suppress(FileNotFoundError):
                self.path.replace(self.path.with_name(f"{self.path.name}.unfit"))
            self._is_unfit = False

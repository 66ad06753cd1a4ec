"""The file of what is to hold over restarts: read at the start, written on a thread of its own.

A disk that is slow, full or gone keeps neither the control loop nor a packet waiting.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from dsrlb.control.kept import MOST_BYTES, Kept, Others, People, Unfit, read, still_unknown, written
from dsrlb.errors import DsrlbError
from dsrlb.host.files import locked, read_whole, replace_whole
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
        self.others: Others = {}  # the same, of backends that are not configured
        self._is_unfit = False  # what is there must not be lost
        self._is_anothers = False  # the file is another process's
        self._lock_fd: int | None = None
        self._wanted: queue.SimpleQueue[tuple[Change, People, Told] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def load(self, people: People) -> None:
        """Read the file, if there is one; what is wrong with it is logged, and left out."""
        with suppress(OSError):  # told when there is something to write, and tried again then
            self._lock()
        try:
            content = read_whole(self.path, MOST_BYTES)
            self.of, self.others, wrong = ({}, {}, []) if content is None else read(content, people)
        except (OSError, Unfit) as error:
            self._is_unfit = True
            why = getattr(error, "strerror", None) or error
            log.warning("what was made durable is lost: %s cannot be used: %s", self.path, why)
            return
        for sentence in wrong:
            log.warning("%s: %s", self.path, sentence)

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
        if self._lock_fd is not None:
            os.close(self._lock_fd)
            self._lock_fd = None

    def _lock(self) -> None:
        """Keep others from the file, unless another had it first: then what it writes must not be lost."""
        if self._lock_fd is None and not self._is_anothers:
            try:
                self._lock_fd = locked(self.path.with_suffix(".lock"))
            except BlockingIOError:
                self._is_anothers = True

    # ------------------------------------------------------------------------- the thread

    def _run(self) -> None:
        while (wanted := self._wanted.get()) is not None:
            change, people, told = wanted
            told(self._write(change(self.of), people))

    def _write(self, of: Mapping[Names, Kept], people: People) -> DsrlbError | None:
        try:
            self._lock()
            if self._is_anothers:
                return DsrlbError(
                    f"{self.path} is another dsrlb's; start this one with a name of its own (--instance), "
                    "or with another folder (--state-dir)"
                )
            self._put_aside()
            replace_whole(self.path, written(of, people, self.others))
        except OSError as error:
            return DsrlbError(f"{self.path} cannot be written ({error.strerror or error})")
        self.of, self.others = of, still_unknown(self.others, people)
        return None

    def _put_aside(self) -> None:
        """Keep what could not be used, for whoever wants to look at it."""
        if self._is_unfit:
            with suppress(FileNotFoundError):
                self.path.replace(self.path.with_name(f"{self.path.name}.unfit"))
            self._is_unfit = False

"""Configurations that were in force, the last ones of them, so that there is a way back.

::

    STATE_DIR/INSTANCE.configs/
        000001.toml            was in force
        000002.undone.toml     was in force, but was gone back from before something else was
        000003.toml            is in force
"""

from __future__ import annotations

import logging
import queue
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dsrlb.config.toml import MOST_BYTES
from dsrlb.errors import UsageError
from dsrlb.host.files import read_whole, replace_whole

MOST_KEPT = 10
CLOSE_WITHIN_S = 2.0
_NAME = re.compile(r"(\d{6,})(\.undone)?\.toml")

Row = dict[str, Any]

log = logging.getLogger("dsrlb")


class History:
    """The files of one instance.  All that touches the disk is done on a thread of its own."""

    def __init__(self, folder: Path) -> None:
        """Take the folder; nothing is made yet."""
        self._folder = folder
        self._current: int | None = None  # the number of what is in force, or of the last that could be kept
        self._is_kept = True  # what is in force
        self._back_to: int | None = None  # the number of what is to be in force again
        self._wanted: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._is_told = False  # that nothing can be kept

    def keep(self, content: bytes) -> None:
        """Keep what is in force from now on."""
        if content:
            self.do(lambda: self._keep(content))

    def going_back_to(self, number: int | None) -> None:
        """Take what comes into force next for this one, if it is the same; None: it is another again."""

        def note() -> None:
            self._back_to = number

        self.do(note)

    def do(self, what: Callable[[], None]) -> None:
        """Do something with the files, after all that was asked for before."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="history", daemon=True)
            self._thread.start()
        self._wanted.put(what)

    def close(self) -> None:
        """End; what is still to be written has a moment."""
        if self._thread is not None:
            self._wanted.put(None)
            self._thread.join(CLOSE_WITHIN_S)
            self._thread = None

    # ------------------------------------------------------------------------- the thread

    def _run(self) -> None:
        while (what := self._wanted.get()) is not None:
            what()

    def _keep(self, content: bytes) -> None:
        try:
            self._put(content)
            self._is_kept = True
        except OSError as error:
            self._is_kept = False
            if not self._is_told:
                why = error.strerror or error
                log.warning("%s: what is in force cannot be kept for a rollback (%s)", self._folder, why)
            self._is_told = True

    def _put(self, content: bytes) -> None:
        there = self._there()
        same = [number for number, path in there.items() if read_whole(path, MOST_BYTES) == content]
        back_to, self._back_to = self._back_to, None
        if back_to in same:
            self._current = back_to
            return
        if self._current in same:
            return
        if same and self._current is None:  # of a process before this one
            self._current = max(same)
            return
        ahead = [] if self._current is None else [one for one in there if one > self._current]
        for number in ahead:
            there[number].replace(self._path(number, ".undone"))
        number = max(there, default=0) + 1
        replace_whole(self._path(number), content)
        self._current = number
        for _, path in sorted(self._all().items())[:-MOST_KEPT]:
            path.unlink()

    def rows(self) -> list[Row]:
        """Return what is kept, the newest first.  On the thread; OSError."""
        return [
            {
                "number": number,
                "kept_at": path.stat().st_mtime,
                "is_in_force": self._is_kept and number == self._current,
                "is_undone": ".undone" in path.suffixes,
            }
            for number, path in sorted(self._all().items(), reverse=True)
        ]

    def content(self, number: int | None) -> tuple[int, str]:
        """Return one that is kept, and its number; without a number, the one that was in force before.

        On the thread.  UsageError: there is none; OSError.
        """
        known = self._all()
        number = self._before() if number is None else number
        content = read_whole(known[number], MOST_BYTES) if number in known else None
        if content is None:
            kept = ", ".join(map(str, sorted(known))) or "none"
            raise UsageError(f"no configuration {number} is kept in {self._folder}; there are {kept}")
        return number, content.decode()

    def _before(self) -> int:
        there, now = self._there(), self._current
        if not self._is_kept:  # it comes after the last that is
            now = (max(there, default=0) if now is None else now) + 1
        if now is None or not (older := [one for one in there if one < now]):
            raise UsageError(f"no configuration that was in force before is kept in {self._folder}")
        return max(older)

    def _there(self) -> dict[int, Path]:
        """Return those that are a way back."""
        return {number: path for number, path in self._all().items() if ".undone" not in path.suffixes}

    def _all(self) -> dict[int, Path]:
        found = ((_NAME.fullmatch(path.name), path) for path in self._files())
        return {int(match[1]): path for match, path in found if match is not None}

    def _files(self) -> list[Path]:
        return list(self._folder.iterdir()) if self._folder.is_dir() else []

    def _path(self, number: int, mark: str = "") -> Path:
        return self._folder / f"{number:06}{mark}.toml"

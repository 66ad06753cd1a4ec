"""No two dsrlb have the files of one HAProxy: who holds the folder owns the process."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from dsrlb.errors import ConfigError


class Lock:
    """A lock on a folder; the kernel gives it back when the process ends, however it ends."""

    def __init__(self, folder: Path) -> None:
        """Take the folder; it need not be there yet."""
        self._folder = folder
        self._descriptor: int | None = None

    @property
    def is_held(self) -> bool:
        """Whether it is ours."""
        return self._descriptor is not None

    def take(self) -> None:
        """Have it, also if made anew; harmless when repeated.  ConfigError: another process does."""
        if self._descriptor is not None:
            if os.path.samestat(os.fstat(self._descriptor), self._folder.stat()):
                return
            self.give_back()
        descriptor = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise ConfigError(
                f"Another dsrlb has the files of its HAProxy in {self._folder}; give this one a name of its "
                "own (--instance)."
            ) from None
        self._descriptor = descriptor

    def give_back(self) -> None:
        """Leave it to others; harmless when repeated."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

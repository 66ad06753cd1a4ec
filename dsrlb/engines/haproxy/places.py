"""The folder of one HAProxy, and what is in it; nobody but this user can put files there."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from dsrlb.errors import ConfigError

MOST_PATH_BYTES = 90  # of a socket: 108 is what Linux has, and HAProxy binds to a name that is longer


@dataclass(frozen=True)
class Places:
    """Where the files of one HAProxy are."""

    folder: Path

    @property
    def configuration(self) -> Path:
        """What it runs by."""
        return self.folder / "haproxy.cfg"

    @property
    def runtime(self) -> Path:
        """Where it takes commands."""
        return self.folder / "runtime.sock"

    @property
    def master(self) -> Path:
        """Where its master process takes commands."""
        return self.folder / "master.sock"

    @property
    def pid(self) -> Path:
        """The number of its master process."""
        return self.folder / "haproxy.pid"

    @property
    def log(self) -> Path:
        """What it says of itself."""
        return self.folder / "haproxy.log"

    @property
    def addresses(self) -> Path:
        """Which addresses the host has for its sake."""
        return self.folder / "addresses.json"

    @property
    def transparent(self) -> Path:
        """Which policy rules the host has for its sake."""
        return self.folder / "transparent.json"

    @property
    def is_ours(self) -> bool:
        """Whether the folder is there, and nobody but this user can put files into it."""
        try:
            found = self.folder.lstat()
        except OSError:
            return False
        is_alone = found.st_uid == os.geteuid() and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
        return stat.S_ISDIR(found.st_mode) and is_alone

    def make(self) -> None:
        """Make the folder, for its owner alone.

        ConfigError: its name is too long for sockets in it, or it is there and somebody else's.
        """
        if len(os.fsencode(self.runtime)) > MOST_PATH_BYTES:
            raise ConfigError(
                f"{self.folder} is too long a name for HAProxy's sockets; give the admin socket, beside "
                "which that is, a shorter one (--admin)."
            )
        try:
            self.folder.mkdir(mode=0o700, parents=True)
        except FileExistsError:
            if not self.is_ours:
                raise ConfigError(
                    f"{self.folder} is no directory that this user owns and nobody else can write to, as "
                    "HAProxy's files need; remove it, or have another one (--admin, --instance)."
                ) from None

    def remove(self) -> None:
        """Take all of it away; harmless when repeated.  A folder with other files in it stays, and they."""
        records = (self.addresses, self.transparent)
        for one in (self.runtime, self.master, self.pid, self.log, *records, self.configuration):
            one.unlink(missing_ok=True)
        with suppress(OSError):
            self.folder.rmdir()

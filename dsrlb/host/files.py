"""Small files that survive a crash: read as a whole, and replaced as a whole."""

from __future__ import annotations

import fcntl
import os
import stat
from contextlib import suppress
from pathlib import Path

MODE, FOLDER_MODE = 0o600, 0o700


def read_whole(path: Path, most_bytes: int) -> bytes | None:
    """Return what is in a file; None: there is none.  OSError: it cannot be read, or is none that can."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe would keep us waiting
    except FileNotFoundError:
        return None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError("it is no regular file")
        with os.fdopen(descriptor, "rb", closefd=False) as opened:
            content = opened.read(most_bytes + 1)
    finally:
        os.close(descriptor)
    if len(content) > most_bytes:
        raise OSError(f"it has more than {most_bytes} bytes")
    return content


def replace_alike(path: Path, content: bytes) -> None:
    """Put other content into a file that is there, with its owner and mode.  OSError: it is as it was.

    A link to it stays one.
    """
    there = path.resolve(strict=True)
    replace_whole(there, content, there.stat())


def replace_whole(path: Path, content: bytes, alike: os.stat_result | None = None) -> None:
    """Put a file in the place of the one there, for its owner only.  OSError: the old one is as it was.

    Whatever happens meanwhile, the old one is there or the new one, whole: it is on the disk before it gets
    the name.  ``alike``: owner and mode that it is to have instead.
    """
    path.parent.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.new")
    with suppress(FileNotFoundError):  # of a crash
        beside.unlink()
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, MODE)
    try:
        with os.fdopen(descriptor, "wb") as opened:
            if alike is not None:
                os.fchown(descriptor, alike.st_uid, alike.st_gid)
                os.fchmod(descriptor, stat.S_IMODE(alike.st_mode))
            opened.write(content)
            opened.flush()
            os.fsync(descriptor)
        beside.replace(path)
    except BaseException:
        with suppress(OSError):
            beside.unlink()
        raise
    _sync_folder(path.parent)


def locked(path: Path) -> int:
    """Return a descriptor that keeps other processes from the file beside.  BlockingIOError: one has it."""
    path.parent.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, MODE)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _sync_folder(folder: Path) -> None:
    """Have the new name on the disk too, where the file system can."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

"""The socket's place in the file system: ours alone, and not another process's."""

from __future__ import annotations

import fcntl
import os
import socket
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dsrlb.errors import ConfigError

FOLDER = Path("/run/dsrlb")
MODE = 0o600
BACKLOG = 128
LOCK_WITHIN_S = 1.0


def socket_path(instance: str) -> Path:
    """Return where the socket of an instance is, unless another place is named."""
    return FOLDER / f"{instance}.sock"


def haproxy_folder(admin_at: Path | None, instance: str) -> Path:
    """Return where the files of an instance's HAProxy are: beside its admin socket, if that is elsewhere."""
    path = (admin_at or socket_path(instance)).absolute()  # HAProxy runs in another folder
    return path.with_name(f"{path.name.removesuffix('.sock')}-haproxy")


def listen(path: Path) -> socket.socket:
    """Return a socket that listens at a path, which only its owner may open; one of a dead process goes.

    Raises ConfigError when a living one is there, or what is no socket; OSError when there can be none.
    """
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        os.fchmod(listening.fileno(), MODE)  # before bind: the file never has another mode
        with _locked(path.parent):
            _make_room(path)
            listening.bind(str(path))
            listening.listen(BACKLOG)
    except BaseException:
        listening.close()
        raise
    return listening


def leave(path: Path, listening: socket.socket) -> None:
    """Close a socket and take its file away; what another process has put there meanwhile stays."""
    with _locked(path.parent):
        listening.close()
        if _is_socket(path) and not _is_alive(path):
            path.unlink(missing_ok=True)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Let no two processes look and act at once; whoever holds the lock for long holds nobody up."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        until_s = time.monotonic() + LOCK_WITHIN_S
        while not _has_locked(descriptor) and time.monotonic() < until_s:
            time.sleep(0.01)
        yield
    finally:
        os.close(descriptor)


def _has_locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _make_room(path: Path) -> None:
    if not os.path.lexists(path):
        return
    if not _is_socket(path):
        raise ConfigError(f"The admin socket cannot be at {path}: another file is there; name another path.")
    if _is_alive(path):
        raise ConfigError(
            f"Another dsrlb has the admin socket {path}; give this one a name (--instance), or its socket "
            "another place (--admin PATH, --admin off)."
        )
    path.unlink()


def _is_socket(path: Path) -> bool:
    try:
        return stat.S_ISSOCK(path.lstat().st_mode)
    except FileNotFoundError:
        return False


def _is_alive(path: Path) -> bool:
    """Return whether somebody listens there; one whose queue is full does."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as trial:
        try:
            trial.connect(str(path))
        except BlockingIOError:
            return True
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        return True

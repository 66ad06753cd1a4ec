"""The other end of the admin socket: one request, one answer."""

from __future__ import annotations

import json
import socket
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from dsrlb.errors import ConfigError, DsrlbError, HostError, UsageError

ANSWER_WITHIN_S = 30.0
DEFAULT_LIMIT, MAX_LIMIT = 100, 10_000  # flows in an answer
_PIECE_BYTES = 1 << 18
_ERRORS = {one.exit_code: one for one in (UsageError, ConfigError, HostError)}


class NotRunning(DsrlbError):
    """Nobody listens there."""


def ask(path: Path, request: dict[str, Any], within_s: float = ANSWER_WITHIN_S) -> Any:
    """Return the answer of the dsrlb that listens at a path.

    Raises DsrlbError, of the kind that the other side names: one sentence.
    """
    try:
        answer = json.loads(_exchange(path, json.dumps(request).encode() + b"\n", within_s))
    except (FileNotFoundError, ConnectionRefusedError):
        raise NotRunning(
            f"No dsrlb runs with the admin socket {path}; start it, or say which one (--instance, --admin)."
        ) from None
    except PermissionError:
        raise HostError(f"{path} is not yours to open: run this as the user of dsrlb (sudo).") from None
    except TimeoutError:
        raise DsrlbError(f"dsrlb did not answer at {path} within {within_s:g} s; see its log.") from None
    except (OSError, ValueError) as error:
        raise DsrlbError(f"{path} gave no answer ({error}); see the log of dsrlb.") from None
    if answer.get("ok"):
        return answer.get("answer")
    raise _ERRORS.get(answer.get("code"), DsrlbError)(str(answer.get("error")))


def _connect(connection: socket.socket, path: Path, within_s: float) -> None:
    """Connect; where many want to at once, wait for a place in their queue.

    *Source*: unix(7), EAGAIN: a socket that does not block is told of a full queue at once.
    """
    until_s = time.monotonic() + within_s
    while True:
        try:
            return connection.connect(str(path))
        except BlockingIOError:
            if time.monotonic() >= until_s:
                raise TimeoutError from None
            time.sleep(0.02)


def _exchange(path: Path, line: bytes, within_s: float) -> bytes:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(within_s)
        _connect(connection, path, within_s)
        with suppress(BrokenPipeError):  # one that is turned away has its answer before it has asked
            connection.sendall(line)
        pieces: list[bytes] = []
        while not (pieces and pieces[-1].endswith(b"\n")):
            piece = connection.recv(_PIECE_BYTES)
            if not piece:
                raise ConnectionError("it closed the connection")
            pieces.append(piece)
    return b"".join(pieces)

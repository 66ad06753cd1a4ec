"""HAProxy's runtime API: a command a connection, over its Unix socket.

*Source*: HAProxy 2.6 management guide, section 9.3; columns of ``show stat``: section 9.1.
"""

from __future__ import annotations

import csv
import socket
from pathlib import Path

from dsrlb.errors import HostError

ANSWER_WITHIN_S = 2.0
MOST_BYTES = 16 << 20


def command(at: Path, *commands: str) -> str:
    """Return the answer to commands, in one go.  HostError: nobody answers there."""
    try:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(ANSWER_WITHIN_S)
            sock.connect(str(at))
            sock.sendall((";".join(commands) + "\n").encode())
            sock.shutdown(socket.SHUT_WR)  # the master process answers on until then
            answer = bytearray()
            while piece := sock.recv(1 << 16):
                answer += piece
                if len(answer) > MOST_BYTES:
                    break
    except OSError as error:
        raise HostError(f"HAProxy does not answer at {at} ({error.strerror or error}).") from None
    return answer.decode(errors="replace")


def statistics(at: Path) -> dict[tuple[str, str], dict[str, str]]:
    """Return what HAProxy counts, by proxy and server (``FRONTEND`` and ``BACKEND`` beside servers)."""
    text = command(at, "show stat").lstrip("# ")
    rows = csv.DictReader(text.splitlines())
    return {(row["pxname"], row["svname"]): dict(row) for row in rows if row.get("pxname")}

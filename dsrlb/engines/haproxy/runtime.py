"""HAProxy's runtime API: a command a connection, over its Unix socket.

*Source*: HAProxy 2.6 management guide, sections 9.3 (commands) and 9.4 (those of the master process);
columns of ``show stat``: section 9.1.
"""

from __future__ import annotations

import csv
import re
import socket
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from dsrlb.errors import HostError

ANSWER_WITHIN_S = 0.3  # the control loop waits for it
MOST_BYTES = 64 << 20
AT_ONCE_BYTES = 12_000  # of commands: HAProxy takes one buffer of them (tune.bufsize, 16384)


class Workers(NamedTuple):
    """The processes of a HAProxy, as its master tells them."""

    reloads: int
    failed: int  # of these, which left those of before at work
    now: int | None  # the number of the worker; None: there is none (yet)
    old: tuple[int, ...]  # of those from before reloads, which still have connections


class Row(NamedTuple):
    """What is counted of a proxy, or of one of its servers."""

    proxy: str
    server: str  # or FRONTEND, or BACKEND
    status: str
    counts: dict[str, int]


def command(at: Path, *commands: str, within_s: float = ANSWER_WITHIN_S) -> str:
    """Return the answer to commands, in one go.  HostError: nobody answers there in time."""
    until_s = time.monotonic() + within_s
    try:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(within_s)
            sock.connect(str(at))
            sock.sendall((";".join(commands) + "\n").encode())
            sock.shutdown(socket.SHUT_WR)  # the master process answers on until then
            answer = bytearray()
            while piece := sock.recv(1 << 16):
                answer += piece
                if len(answer) > MOST_BYTES or time.monotonic() > until_s:
                    raise TimeoutError("it goes on and on")
    except OSError as error:
        raise HostError(f"HAProxy does not answer at {at} ({error.strerror or error}).") from None
    return answer.decode(errors="replace")


def answers(at: Path, commands: Iterable[str]) -> Iterator[str]:
    """Yield the answers to commands, as many at once as HAProxy takes.  HostError: nobody answers in time."""
    for some in _in_pieces(commands):
        yield command(at, *some)


def tell(at: Path, commands: Iterable[str]) -> None:
    """Give commands.  HostError: nobody answers, or one is refused.

    What HAProxy does, it does without a word.
    """
    said = list(answers(at, commands))
    refused = [line.strip() for answer in said for line in answer.splitlines() if line.strip()]
    if refused:
        raise HostError(f"it refuses {len(refused)} of the commands: {refused[0].rstrip('.')}.")


def _in_pieces(commands: Iterable[str]) -> Iterator[list[str]]:
    some: list[str] = []
    for one in commands:
        if some and sum(map(len, some)) + len(some) + len(one) > AT_ONCE_BYTES:
            yield some
            some = []
        some.append(one)
    if some:
        yield some


def workers(master: Path, within_s: float = ANSWER_WITHIN_S) -> Workers:
    """Return the processes of a HAProxy.  HostError: its master does not answer.

    ::

        #<PID>  <type>  <reloads>            <uptime>    <version>
        811     master  2 [failed: 0]        0d00h02m21s 2.6.12
        # workers
        840     worker  0                    0d00h00m04s 2.6.12
        # old workers
        813     worker  2                    0d00h02m21s 2.6.12
    """
    said = command(master, "show proc", within_s=within_s)
    counted = re.search(r"^\d+\s+master\s+(\d+)(?: \[failed: (\d+)\])?", said, re.MULTILINE)
    if counted is None:
        raise HostError(f"HAProxy does not tell its processes at {master}.")
    young, _, rest = said.partition("# workers")[2].partition("# old workers")
    now, old = _pids(young), _pids(rest)
    return Workers(int(counted[1]), int(counted[2] or 0), now[0] if now else None, tuple(old))


def _pids(lines: str) -> Sequence[int]:
    return [int(one) for one in re.findall(r"^(\d+)\s+worker", lines, re.MULTILINE)]


def statistics(
    at: Path, columns: Sequence[str], worker: int | None = None, within_s: float = ANSWER_WITHIN_S
) -> list[Row]:
    """Return what HAProxy counts, by proxy and server.  HostError: it does not answer in time.

    ``worker``: which one, where the master is asked.
    """
    asked = "show stat" if worker is None else f"@!{worker} show stat"
    lines = csv.reader(command(at, asked, within_s=within_s).lstrip("# \n").splitlines())
    head = next(lines, None)
    if not head or "pxname" not in head:
        raise HostError(f"HAProxy does not tell what it counts at {at}.")
    place = {name: number for number, name in enumerate(head)}
    known = [(name, place[name]) for name in columns if name in place]
    proxy, server, status = (place[name] for name in ("pxname", "svname", "status"))
    return [
        Row(row[proxy], row[server], row[status], {name: int(row[at] or 0) for name, at in known})
        for row in lines
        if len(row) >= len(head) - 1
    ]

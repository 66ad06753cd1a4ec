"""Does a server that never stops talking hold up its own check only, and for its time-out?"""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from pathlib import Path
from typing import Any

import pytest
from check_servers import asked, subject

from dsrlb.health import BY_NAME
from dsrlb.health.base import Outcome, probe

TIMEOUT_S, LATE_S = 0.3, 3.0
CERTIFICATE = Path(__file__).parents[1] / "certificate"


class Endless(socket.socket):
    """A socket on which something new is there at every look."""

    def __init__(self, piece: bytes) -> None:
        super().__init__(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._piece, self._until = piece, time.monotonic() + LATE_S

    def recv(self, *_: int) -> bytes:
        assert time.monotonic() < self._until, "the time-out was not heeded"
        return self._piece

    def send(self, content: Any, *_: int) -> int:
        return len(content)


async def beside(check: Any) -> tuple[Outcome, float, float]:
    """Return what a check found, how long it took, and the longest that others had to wait meanwhile."""
    now = asyncio.get_running_loop().time
    began, longest = now(), 0.0
    asking = asyncio.ensure_future(check)
    while not asking.done():
        before = now()
        await asyncio.sleep(0.005)
        longest = max(longest, now() - before)
    return asking.result(), now() - began, longest


@pytest.mark.parametrize(
    ("kind", "piece", "fields"),
    [
        ("dns", b"\0", {"query": "a.example"}),
        ("icmp", bytes(28), {}),
        ("tcp", b"", {"expect": b"x"}),
        ("http", b"H", {}),
        ("https", b"\x16\x03\x03\x00\x00", {}),
    ],
    ids=["dns", "icmp", "tcp", "http", "https"],
)
def test_a_flood_is_over_with_the_time_out_and_others_are_asked_meanwhile(
    kind: str, piece: bytes, fields: dict[str, Any]
) -> None:
    async def open_to(*_: object) -> socket.socket:
        return Endless(piece)

    asking = subject(kind, 0, timeout_s=TIMEOUT_S, **fields)
    outcome, took_s, longest_s = asyncio.run(beside(probe(BY_NAME[kind].ask, asking, open_to)))
    assert not outcome.ok
    assert took_s < LATE_S / 2 and longest_s < LATE_S / 4


def test_tls_that_never_comes_to_the_point_is_read_to_a_bound() -> None:
    """Session tickets, a megabyte of them: the library takes each for itself, and none is an answer."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE / "server.pem")
    context.num_tickets = 8000

    async def silent(reader: Any, writer: Any) -> None:
        await reader.read()

    began = time.monotonic()
    outcome = asked("https", silent, tls=context, timeout_s=30.0)
    assert outcome.word == "bad_tls" and "KiB" in outcome.detail
    assert time.monotonic() - began < 20


def test_no_check_leaves_a_descriptor_behind_however_it_ends() -> None:
    async def silent(reader: Any, writer: Any) -> None:
        await reader.read()

    async def gone(reader: Any, writer: Any) -> None:
        await reader.read(1)

    def open_files() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    kinds: list[tuple[str, dict[str, Any]]] = [
        ("tcp", {"send": b"x", "expect": b"y"}),
        ("http", {}),
        ("https", {}),
        ("command", {"command": ("sleep", "9")}),
    ]
    counts = []
    for _ in range(3):
        for kind, fields in kinds:
            for handler in (silent, gone):
                assert not asked(kind, handler, timeout_s=0.02, **fields).ok
        counts.append(open_files())
    assert counts[0] == counts[-1]

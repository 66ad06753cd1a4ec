"""What is wrong with a server, or a VIP, though checks pass: it is told, and nobody is taken out for it.

A remark is about a VIP, a server, or a server at a VIP.  It stands until it is taken back, or its time over.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import NamedTuple

from dsrlb.health.naming import setup_line
from dsrlb.model import Address

FOR_GOOD = float("inf")

log = logging.getLogger("dsrlb")


class Remark(NamedTuple):
    """A word, and what was seen, with what mends it."""

    word: str
    detail: str


class About(NamedTuple):
    """Whom a remark is about; None: all."""

    vip: Address | None = None
    backend: Address | None = None

    def __str__(self) -> str:
        """Return it as the log calls it: ``backend 198.18.1.11 at VIP 198.18.1.100``."""
        backend = "" if self.backend is None else f"backend {self.backend}"
        vip = "" if self.vip is None else f"VIP {self.vip}"
        return " at ".join(filter(None, (backend, vip))) or "this host"


def claimed_by_asking(vip: Address, mac: str, interface: str) -> Remark:
    """Return what is to be said of a server that asks for others by ARP as the VIP."""
    return Remark(
        "arp_announce",
        f"{mac} asks by ARP on {interface} as if it was {vip}: arp_announce is not 2 there; "
        f"on the server: {setup_line('l2dsr', vip)}",
    )


class Remarks:
    """All remarks that stand, to be made and read on any thread."""

    def __init__(self) -> None:
        self._of: dict[tuple[About, str], tuple[str, float]] = {}  # what is said, and until when (monotonic)
        self._lock = threading.Lock()

    def say(self, about: About, remark: Remark, for_s: float = FOR_GOOD) -> None:
        """Remark something, which the log tells if it did not stand."""
        now = time.monotonic()
        with self._lock:
            self._of = {key: one for key, one in self._of.items() if one[1] > now}
            is_new = (about, remark.word) not in self._of
            self._of[about, remark.word] = remark.detail, now + for_s
        if is_new:
            log.warning("%s: %s: %s", about, remark.word, remark.detail)

    def take_back(self, about: About, word: str) -> None:
        """Take a remark back; harmless if it does not stand."""
        with self._lock:
            stood = self._of.pop((about, word), None)
        if stood is not None and stood[1] > time.monotonic():
            log.info("%s: %s no more", about, word)

    def of(self, vip: Address, backend: Address, now_s: float) -> list[Remark]:
        """Return what stands about a server at a VIP."""
        with self._lock:
            standing = sorted(self._of.items(), key=lambda one: one[0][1])
        return [
            Remark(word, detail)
            for (about, word), (detail, until_s) in standing
            if until_s > now_s and about.vip in (None, vip) and about.backend in (None, backend)
        ]

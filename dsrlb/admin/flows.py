"""Flows on record, for ``dsrlb show flows``: so many, and found without keeping anything else waiting."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from ipaddress import ip_network
from typing import Any

from dsrlb.admin.choosing import backends_of
from dsrlb.config import Config
from dsrlb.engines.base import FlowSeen
from dsrlb.errors import UsageError
from dsrlb.flows import FlowState
from dsrlb.model import Service, person_address, person_backend, person_end, wire_address
from dsrlb.standing import key_of, named
from dsrlb.table import ForwardingTable

LOOK_FOR_S = 20.0  # in all
GO_ON_FOR_S = 0.05  # the control loop does nothing else meanwhile
PAUSE_EVERY = 256  # flows: the packet engine's thread gets its turn

Wanted = Callable[[FlowSeen], bool]
Row = dict[str, Any]


class Look:
    """A look for up to so many flows, a little at a time."""

    def __init__(
        self, seen: Iterable[FlowSeen], wanted: Wanted, services: Iterable[Service], limit: int
    ) -> None:
        self._seen, self._wanted, self._limit = iter(seen), wanted, limit
        self._names = {key_of(one): one.name for one in services}
        self._labels = {names: backend.label for one in services for names, backend in named(one)}
        self._until_s = time.monotonic() + LOOK_FOR_S
        self.rows: list[Row] = []
        self.looked_at = 0
        self.is_complete = False  # there are no more

    def go_on(self) -> bool:
        """Look for a moment longer; return whether there is more to do."""
        begun_s = time.monotonic()
        for one in self._seen:
            if one.ends_s >= begun_s and self._wanted(one):
                if len(self.rows) == self._limit:
                    return False
                self.rows.append(_row(one, int(begun_s), self._names, self._labels))
            self.looked_at += 1
            if not self.looked_at % PAUSE_EVERY:
                time.sleep(0)
                now_s = time.monotonic()
                if now_s - begun_s > GO_ON_FOR_S:
                    return now_s < self._until_s
        self.is_complete = True
        return False

    def answer(self) -> Row:
        """Return what was found."""
        return {"flows": self.rows, "looked_at": self.looked_at, "complete": self.is_complete}


def wanted_by(config: Config, client: str | None, backend: str | None, service: str | None) -> Wanted:
    """Return what tells flows that are asked for.  Raises UsageError."""
    among = None
    if backend is not None or service is not None:
        among = {names for names, _, _ in backends_of(config.services, backend, service)}
    first, mask = (0, 0) if client is None else network(client)

    def is_wanted(one: FlowSeen) -> bool:
        if among is not None and (one.service, one.backend) not in among:
            return False
        return int.from_bytes(one.key[:16], "big") & mask == first

    return is_wanted


def unrecorded(table: ForwardingTable) -> list[str]:
    """Return the services of which only some flows are on record, or none: the slots tell the rest."""
    return sorted(one.name for one in table.services.values() if not one.records_all)


def network(text: str) -> tuple[int, int]:
    """Return the first address of a network and its mask, as numbers of 16 bytes."""
    try:
        network = ip_network(text, strict=False)
    except ValueError:
        raise UsageError(
            f"client {text!r} is neither an address nor a network such as 198.18.0.0/24"
        ) from None
    first = int.from_bytes(wire_address(network.network_address), "big")
    return first, (1 << 128) - (1 << network.max_prefixlen - network.prefixlen)


def _row(one: FlowSeen, now_s: int, names: dict[bytes, str], labels: dict[tuple[bytes, bytes], str]) -> Row:
    sport = int.from_bytes(one.key[32:34], "big")
    return {
        "client": person_end(person_address(one.key[:16]), sport),
        "service": names.get(one.service or b"", ""),
        "port": int.from_bytes(one.key[34:36], "big"),
        "backend": person_backend(one.backend),
        "name": labels.get((one.service or b"", one.backend), ""),
        "state": FlowState(one.state).name.lower(),
        "ends_in_s": one.ends_s - now_s,
    }

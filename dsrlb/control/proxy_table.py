"""Services of mode proxy by the names that HAProxy has for them, and their servers as they are to stand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from dsrlb.answered import Answers
from dsrlb.control.proxy_counts import Counts, Key
from dsrlb.engines.haproxy.names import entries
from dsrlb.engines.haproxy.states import ServerState
from dsrlb.flows import BackendCount
from dsrlb.host.transparent import Server
from dsrlb.model import Hop, Service
from dsrlb.proxying import NO_PROXY
from dsrlb.standing import Effective, Names, named
from dsrlb.table import CompiledService, compile_table

REACHED = Hop(0, b"", b"")  # how, is the host's own affair


def keys_of(services: Sequence[Service]) -> Iterator[tuple[Names, Key]]:
    """Yield each server of services, with what HAProxy calls its proxy and itself: once for each group."""
    for service in services:
        for names, backend in named(service):
            for key in entries(service, backend):
                yield names, key


def moved(before: Sequence[Service], now: Sequence[Service]) -> set[Key]:
    """Return what was called so before, and is no more, or is another server."""
    old, new = ({key: names for names, key in keys_of(one)} for one in (before, now))
    return {key for key, names in old.items() if new.get(key) != names}


def of_servers(services: Sequence[Service], found: Mapping[Key, Counts]) -> dict[Names, Counter[str]]:
    """Return what HAProxy has counted of each server, in all groups that it is in."""
    total: dict[Names, Counter[str]] = {}
    for names, key in keys_of(services):
        total.setdefault(names, Counter()).update(found.get(key, {}))
    return total


def counts_of(services: Sequence[Service], found: Mapping[Key, Counts]) -> dict[Names, BackendCount]:
    """Return the same as the other modes count it."""
    return {
        names: BackendCount(octets=total["bin"], flows=total["stot"], active=total["scur"])
        for names, total in of_servers(services, found).items()
    }


def answers_of(
    services: Sequence[Service], worker: int, found: Mapping[Key, Counts]
) -> dict[Names, dict[str, Answers]]:
    """Return what a worker tells of the answers of servers, by group; by connection, it sees none."""
    told: dict[Names, dict[str, Answers]] = {}
    for service in (one for one in services if (one.proxy or NO_PROXY).layer == 7):
        for names, backend in named(service):
            by_group = zip(backend.groups, entries(service, backend), strict=True)
            told[names] = {group: _answers(worker, found[key]) for group, key in by_group if key in found}
    return told


def _answers(worker: int, counts: Counts) -> Answers:
    return Answers(worker, counts["req_tot"], counts["rtime"], counts["hrsp_5xx"])


def as_new(services: Sequence[Service]) -> dict[Key, ServerState]:
    """Return all servers standing alike, so that texts differ by the rest alone."""
    return {key: ServerState(1, is_in_use=True) for _, key in keys_of(services)}


def compiled(services: Sequence[Service], effective: Effective) -> Mapping[bytes, CompiledService]:
    """Return the services as the packet engines take them, for their shares: all servers can be reached."""
    hops = {backend.address: REACHED for service in services for backend in service.backends}
    return compile_table(services, hops, {}, effective=effective).services


def transparent(services: Sequence[Service]) -> frozenset[Server]:
    """Return the servers that are asked from clients' own addresses."""
    several = [one for one in services if (one.proxy or NO_PROXY).transparent]
    return frozenset(Server(to.address, to.port or one.port) for one in several for to in one.backends)

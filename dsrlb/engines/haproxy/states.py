"""How servers stand in HAProxy: what a configuration begins with, and the runtime API changes.

Pure.

*Source*: HAProxy 2.6 management guide, section 9.3 (runtime API).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from dsrlb.engines.haproxy.names import proxy_name, server_name
from dsrlb.model import Service
from dsrlb.standing import key_of, named
from dsrlb.table import CompiledService

MOST_WEIGHT = 256  # of a server, in HAProxy


@dataclass(frozen=True)
class ServerState:
    """How a server is to stand: what the runtime API sets, and a configuration begins with."""

    weight: int  # 0 to MOST_WEIGHT; 0 keeps the connections that there are, and gives it no new ones
    is_in_use: bool  # False: no new connections, whatever its weight


States = Mapping[tuple[str, str], ServerState]  # by the names of a proxy and its server


def states(
    services: Sequence[Service], compiled: Mapping[bytes, CompiledService]
) -> dict[tuple[str, str], ServerState]:
    """Return how each server is to stand, by the names of its proxy and its own in the configuration.

    Weights are in proportion within a group: its largest share is the greatest weight.
    """
    found: dict[tuple[str, str], ServerState] = {}
    for service in services:
        as_it_is = compiled[key_of(service)]
        shares = {target.key: share for target, share in zip(as_it_is.targets, as_it_is.shares, strict=True)}
        most: dict[str, int] = {}
        placed = [(names[1], one, group) for names, one in named(service) for group in one.groups]
        for key, _, group in placed:
            most[group] = max(most.get(group, 1), shares.get(key, 0))
        for key, backend, group in placed:
            target = as_it_is.by_key.get(key)
            weight = -(-shares.get(key, 0) * MOST_WEIGHT // most[group])  # none that is above 0 becomes 0
            state = ServerState(weight, target is not None and target.up)
            found[proxy_name(service, group), server_name(backend)] = state
    return found


def changes(before: States, now: States) -> Iterator[str]:
    """Yield the commands of the runtime API that turn what holds into what is to hold."""
    for (proxy, server), state in now.items():
        old = before.get((proxy, server))
        if old is None or old.weight != state.weight:
            yield f"set server {proxy}/{server} weight {state.weight}"
        if old is None or old.is_in_use != state.is_in_use:
            yield f"set server {proxy}/{server} state {'ready' if state.is_in_use else 'maint'}"

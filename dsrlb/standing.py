"""What health and operators say of a backend of a service, beside its configuration.

::

                 new flows    TCP under way    UDP under way
    up           its share    goes there       goes there
    drained      none         goes there       goes there       as with weight 0
    down         none         goes there       is picked anew   by health; a dead process resets: clients know
    disabled     none         goes there       is picked anew   by the operator's word

Where no backend of a service takes new flows since all fail their checks, and the service says to keep
sending (``Service.on_all_down``), those that are down count as up.

Pure: nothing here looks at a clock.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from dsrlb.model import PROTOCOL_NUMBERS, Backend, Service, backend_key, service_key, wire_address

Names = tuple[bytes, bytes]  # key of a service, key of its backend


@dataclass(frozen=True)
class Standing:
    """The standing of one backend of one service."""

    up: bool = True  # health
    why: str = ""  # it is down
    enabled: bool = True  # the operator's word, as are the next two
    drained: bool = False
    weight: int | None = None  # in place of the configured one
    since_s: float = 0  # monotonic: when it last began, or ceased, to take new flows
    share_percent: int = 100  # of its weight: less while it starts slowly

    @property
    def takes_flows(self) -> bool:
        """Whether it takes new flows, if it has a weight."""
        return self.up and self.is_wanted

    @property
    def is_wanted(self) -> bool:
        """Whether the operator wants it to take new flows."""
        return self.enabled and not self.drained and self.weight != 0


AS_CONFIGURED = Standing()
Standings = Mapping[Names, Standing]


@dataclass(frozen=True)
class Effective:
    """What standings come to, as the forwarding table takes it; of backends that are not named, nothing."""

    weights: Mapping[Names, int] = field(default_factory=dict)  # in place of the configured ones
    percents: Mapping[Names, int] = field(default_factory=dict)  # of their weights, while they start slowly
    down: frozenset[Names] = frozenset()


NO_STANDINGS: Standings = MappingProxyType({})
ALL_UP = Effective()


def effective(services: Sequence[Service], standings: Standings) -> Effective:
    """Return what the standings of these services' backends come to; of others they may hold some too."""
    weights: dict[Names, int] = {}
    percents: dict[Names, int] = {}
    down: set[Names] = set()
    for service in services:
        known = [(names, one, standings[names]) for names, one in named(service) if names in standings]
        is_kept = service.on_all_down == "keep" and not takes_new(service, standings)
        for names, _, standing in known:
            if standing.drained or standing.weight is not None:
                weights[names] = 0 if standing.drained else standing.weight or 0
            if standing.share_percent < 100:
                percents[names] = standing.share_percent
            if not standing.enabled or not (standing.up or is_kept):
                down.add(names)
    return Effective(weights, percents, frozenset(down))


def takes_new(service: Service, standings: Standings) -> bool:
    """Return whether some backend of a service may take new flows, as far as standings go."""
    return any(
        standing.takes_flows and weight_of(backend, standing)
        for names, backend in named(service)
        for standing in (standings.get(names, AS_CONFIGURED),)
    )


def weight_of(backend: Backend, standing: Standing) -> int:
    """Return the weight that holds: none while it is drained, the operator's, or the configured one."""
    if standing.drained:
        return 0
    return backend.weight if standing.weight is None else standing.weight


def named(service: Service) -> Iterator[tuple[Names, Backend]]:
    """Yield the backends of a service with their names."""
    key = key_of(service)
    for backend in service.backends:
        yield (key, backend_key(backend)), backend


def key_of(service: Service) -> bytes:
    """Return the key that a service is found by."""
    return service_key(wire_address(service.vip), service.port, PROTOCOL_NUMBERS[service.protocol])

"""What health and operators say of a backend of a service, beside its configuration.

::

                 new flows    TCP under way    UDP under way
    up           its share    goes there       goes there
    drained      none         goes there       goes there       as with weight 0
    down         none         goes there       is picked anew   by health; a dead process resets: clients know
    ejected      none         goes there       is picked anew   by its clients' handshakes: they fail
    disabled     none         goes there       is picked anew   by the operator's word
    gone         none         is picked anew   is picked anew   by the operator's word: a drain is over

Where no backend of a service takes new flows since all fail their checks, and the service says to keep
sending (``Service.on_all_down``), those that are down count as up.

Pure: nothing here looks at a clock.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

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
    ejected: bool = False  # by what clients' handshakes say of it
    why_ejected: str = ""
    ejected_until_s: float = 0  # monotonic: at the longest
    response_percent: int = 100  # of its weight, where it goes by response times
    gone: bool = False  # the operator's word: as if it were not configured

    @property
    def is_well(self) -> bool:
        """Whether neither health nor its clients' handshakes speak against it."""
        return self.up and not self.ejected

    @property
    def percent(self) -> int:
        """How much of its weight it has, at least 1 per cent."""
        return max(1, self.share_percent * self.response_percent // 100)

    def weight_of(self, backend: Backend) -> int:
        """Return the weight that holds: none while it is drained, the operator's, or the configured one."""
        if self.drained:
            return 0
        return backend.weight if self.weight is None else self.weight

    def is_wanted(self, backend: Backend) -> bool:
        """Return whether it is meant to take new flows."""
        return self.enabled and not self.gone and self.weight_of(backend) > 0

    def takes_new(self, backend: Backend) -> bool:
        """Return whether it takes new flows, as far as standings go."""
        return self.is_well and self.is_wanted(backend)


@dataclass(frozen=True)
class Health:
    """What health says of a backend."""

    up: bool
    why: str = ""  # it is down


@dataclass(frozen=True)
class Ejection:
    """What its clients' handshakes say of a backend."""

    out: bool
    why: str = ""
    until_s: float = 0  # monotonic: at the longest


CONFIGURED = -1  # of a wish: the weight that is in the configuration


@dataclass(frozen=True)
class Wish:
    """What the operator says of a backend; None: that stays as it is."""

    enabled: bool | None = None
    drained: bool | None = None
    weight: int | None = None
    gone: bool | None = None


Change = Health | Ejection | Wish

AS_CONFIGURED = Standing()


@dataclass(frozen=True)
class Effective:
    """What standings come to, as the forwarding table takes it; of backends that are not named, nothing."""

    weights: Mapping[Names, int] = field(default_factory=dict)  # in place of the configured ones
    percents: Mapping[Names, int] = field(default_factory=dict)  # of their weights, while they start slowly
    down: frozenset[Names] = frozenset()
    gone: frozenset[Names] = frozenset()  # as if they were not configured


ALL_UP = Effective()


def effective(services: Sequence[Service], standings: Mapping[Names, Standing]) -> Effective:
    """Return what the standings of these services' backends come to; of others they may hold some too."""
    weights: dict[Names, int] = {}
    percents: dict[Names, int] = {}
    down: set[Names] = set()
    gone: set[Names] = set()
    for service in services:
        known = ((names, one, standings[names]) for names, one in named(service) if names in standings)
        able = _groups_that_take_new(service, standings)
        for names, backend, standing in known:
            if standing.weight_of(backend) != backend.weight:
                weights[names] = standing.weight_of(backend)
            if standing.percent < 100:
                percents[names] = standing.percent
            is_kept = service.on_all_down == "keep" and not able.issuperset(backend.groups)
            if not standing.enabled or not (standing.is_well or is_kept):
                down.add(names)
            if standing.gone:
                gone.add(names)
    return Effective(weights, percents, frozenset(down), frozenset(gone))


def takes_new(service: Service, standings: Mapping[Names, Standing]) -> bool:
    """Return whether new flows of a service find a backend, as far as standings go, or need none."""
    return not service.backends or bool(_groups_that_take_new(service, standings))


def _groups_that_take_new(service: Service, standings: Mapping[Names, Standing]) -> set[str]:
    """Return the groups in which some backend may; in a mode without groups, all are in the default one."""
    able = (one for names, one in named(service) if standings.get(names, AS_CONFIGURED).takes_new(one))
    return {group for one in able for group in one.groups}


def after(standing: Standing, change: Change) -> Standing:
    """Return a standing after what was said of the backend."""
    if isinstance(change, Health):
        return replace(standing, up=change.up, why="" if change.up else change.why)
    if isinstance(change, Ejection):
        why, until_s = (change.why, change.until_s) if change.out else ("", 0)
        return replace(standing, ejected=change.out, why_ejected=why, ejected_until_s=until_s)
    weight = standing.weight if change.weight is None else change.weight
    return replace(
        standing,
        enabled=standing.enabled if change.enabled is None else change.enabled,
        drained=standing.drained if change.drained is None else change.drained,
        weight=None if weight == CONFIGURED else weight,
        gone=standing.gone if change.gone is None else change.gone,
    )


def grown_percent(age_s: float, slow_start_s: int, steps: int) -> int:
    """Return how much of its weight a backend has that began to take new flows so long ago.

    It grows in even steps, at most one for each second and 19 in all, and never begins with nothing.  What it
    returns are multiples of 5, so that turns by weight need no more than 20 slots for a weight of 1::

        steps = 4       20      40      60      80      100 per cent
                        +-------+-------+-------+-------+-----
                        0                     slow_start_s
    """
    if age_s >= slow_start_s:
        return 100
    steps = min(steps, slow_start_s, 19)
    return 20 * (int(max(age_s, 0) * steps / slow_start_s) + 1) // (steps + 1) * 5


def named(service: Service) -> Iterator[tuple[Names, Backend]]:
    """Yield the backends of a service with their names."""
    key = key_of(service)
    for backend in service.backends:
        yield (key, backend_key(backend)), backend


def key_of(service: Service) -> bytes:
    """Return the key that a service is found by."""
    return service_key(wire_address(service.vip), service.port, PROTOCOL_NUMBERS[service.protocol])

"""The forwarding table: all that the data path needs to know, in one immutable value.

``compile_table`` turns services, resolved next hops and interfaces into it; ``diff`` and
``apply`` say what changed.  Health, weights and unresolved neighbours end here: they decide
which slot points at which backend.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from functools import lru_cache
from types import MappingProxyType

from dsrlb import modes, schedulers
from dsrlb.flows import by_state
from dsrlb.model import (
    SAME_PORT,
    Address,
    Backend,
    Hop,
    ModeOptions,
    Persist,
    Service,
    backend_key,
    wire_address,
)
from dsrlb.modes.base import Mode, outer_source, wraps
from dsrlb.schedulers.base import Cursor, Scheduler
from dsrlb.standing import ALL_UP, Effective, Names, key_of, named


@dataclass(frozen=True)
class Target:
    """A backend as the data path sees it; without a hop it takes no traffic."""

    key: bytes  # see model.backend_key: its identity in flow records, whatever its place in the table
    hop: Hop | None
    address: bytes  # 16 bytes
    port: bytes = b""  # two bytes; empty: the service's own
    weight: int = 1
    up: bool = True  # False: it takes what is under way by TCP, and nothing else


WHOLE_ADDRESS = (32, 128)
_WHOLE = 100  # per cent
_MOST_IN_ALL = 1 << 31  # of shares: their sum fits into 32 bits
GONE = 0xFFFF  # in former slots: whoever was there is no backend of the service any more


@dataclass(frozen=True)
class Former:
    """Where flows without a record are, while slots change hands (``dsrlb/transition.py``)."""

    prefixes: tuple[int, int] | None  # as a service's own
    slots: memoryview  # like a service's own; or GONE
    until_s: int  # by then every flow that still lives has been seen, and has a record


@dataclass(frozen=True)
class CompiledService:
    """A service as the data path sees it."""

    key: bytes
    name: str
    cursor: Cursor
    prefixes: tuple[int, int] | None  # IPv4, IPv6: of the client's network, which is hashed; None: the flow
    slots: memoryview  # of unsigned 16-bit indices into targets; empty: no backend can take traffic
    targets: tuple[Target, ...]
    shares: tuple[int, ...]  # of new flows, for each target; 0: it gets none
    by_key: Mapping[bytes, Target]
    mode: Mode
    options: ModeOptions
    persist: Persist | None
    timeouts_s: tuple[int, ...]  # by flows.FlowState
    intended: memoryview  # the slots if every backend could be reached
    records_all: bool  # False: only flows that the slots do not tell the backend of
    source: bytes | None = None  # 16 bytes: what servers see in place of the client's address
    former: Former | None = None
    refuses: bool = False  # who opens a flow while no backend can take it is told so
    samples: bool = False  # handshakes are looked at (``dsrlb/sampling.py``)


@dataclass(frozen=True)
class ForwardingTable:
    """Services by key, the addresses that are the balancer's, MACs and MTUs of the interfaces served.

    An interface whose MAC is None takes every unicast frame for its own (offline replay).
    """

    services: Mapping[bytes, CompiledService]
    vips: frozenset[bytes]  # and the sources that stand in for clients
    interfaces: Mapping[int, bytes | None]
    wrapped: frozenset[bytes] = frozenset()  # VIPs of services whose mode puts bytes before packets
    tunnels: Mapping[bytes, tuple[ModeOptions, ...]] = field(default_factory=dict)  # by source, then server
    sources: frozenset[bytes] = frozenset()  # addresses that wrapped packets come from
    servers: frozenset[bytes] = frozenset()  # of modes that see replies
    # Where such servers answer from, as a service key of their own; whether to anybody, or to ``vips`` only.
    answering: Mapping[bytes, bool] = field(default_factory=dict)
    mtus: Mapping[int, int] = field(default_factory=dict)  # bytes, of the ways to clients, where known
    own: frozenset[bytes] = frozenset()  # the host's addresses, where servers' packets to them could be taken
    edition: object = field(default_factory=object, compare=False, repr=False)  # no two tables share one


@dataclass(frozen=True)
class TableDiff:
    """What turns one table into another."""

    removed: frozenset[bytes]
    put: Mapping[bytes, CompiledService]
    interfaces: Mapping[int, bytes | None] | None  # None: unchanged
    mtus: Mapping[int, int] | None  # None: unchanged
    own: frozenset[bytes] | None  # None: unchanged

    def __bool__(self) -> bool:
        """Return whether there is anything to do."""
        rest = (self.interfaces, self.mtus, self.own)
        return bool(self.removed or self.put) or any(one is not None for one in rest)


EMPTY = ForwardingTable({}, frozenset(), {})
Known = dict[bytes, tuple[object, CompiledService]]  # services by key, with what they were compiled from
NO_MTUS: Mapping[int, int] = MappingProxyType({})


def compile_table(
    services: Sequence[Service],
    hops: Mapping[Address, Hop | None],
    interfaces: Mapping[int, bytes | None],
    mtus: Mapping[int, int] = NO_MTUS,
    effective: Effective = ALL_UP,
    known: Known | None = None,
    own: Set[bytes] = frozenset(),
) -> ForwardingTable:
    """Return the table for these services; the order of services and backends does not matter to it.

    A backend that is down or has no hop gets no slot, and keeps its place for the flows that are its own.
    ``known``: what the last call has left there; services that are as they were are not compiled again.
    ``own``: the host's addresses (16 bytes each).
    """
    before = {} if known is None else dict(known)
    services = [_without(one, effective.gone) for one in services]
    after = {key_of(one): _compiled(one, hops, effective, before) for one in services}
    if known is not None:
        known.clear()
        known.update(after)
    compiled = {key: service for key, (_, service) in after.items()}
    return _assemble(compiled, dict(interfaces), dict(mtus), own)


def _without(service: Service, gone: Set[Names]) -> Service:
    """Return a service without the backends that are gone; one that has none of them, as it is."""
    if not gone or gone.isdisjoint(names for names, _ in named(service)):
        return service
    return replace(service, backends=tuple(one for names, one in named(service) if names not in gone))


def _compiled(
    service: Service, hops: Mapping[Address, Hop | None], effective: Effective, known: Known
) -> tuple[object, CompiledService]:
    """Return all that a service is compiled from, and what it is compiled to."""
    key = key_of(service)
    names = [(key, backend_key(one)) for one in service.backends]
    said = [(effective.weights.get(one), effective.percents.get(one), one in effective.down) for one in names]
    inputs = service, [hops.get(one.address) for one in service.backends], said
    before = known.get(key)
    if before is not None and before[0] == inputs:
        return before
    return inputs, _compile_service(service, hops, effective)


def _assemble(
    services: Mapping[bytes, CompiledService],
    interfaces: Mapping[int, bytes | None],
    mtus: Mapping[int, int],
    own: Set[bytes],
) -> ForwardingTable:
    """Return the table of these services, with what follows from them."""
    wrapping = [one for one in services.values() if wraps(one.mode, one.options)]
    tunnels = _tunnels(wrapping)
    answering: dict[bytes, bool] = {}
    for service in services.values():
        for target in service.targets if service.mode.sees_replies else ():
            key = target.address + (target.port or service.key[16:18]) + service.key[18:]
            answering[key] = answering.get(key, False) or service.source is None
    vips = frozenset(key[:16] for key in services)
    vips |= {one.source for one in services.values() if one.source}
    return ForwardingTable(
        services,
        vips=vips,
        interfaces=interfaces,
        wrapped=frozenset(one.key[:16] for one in wrapping),
        tunnels=tunnels,
        sources=frozenset(ends[:16] for ends in tunnels),
        servers=frozenset(key[:16] for key in answering),
        answering=answering,
        mtus=mtus,
        own=frozenset(own) - vips if any(answering.values()) else frozenset(),
    )


def _tunnels(services: Sequence[CompiledService]) -> dict[bytes, tuple[ModeOptions, ...]]:
    """Return how packets are wrapped from which of this host's addresses to which server."""
    tunnels: dict[bytes, tuple[ModeOptions, ...]] = {}
    for service in services:
        for target in service.targets:
            source = outer_source(service.options, target.hop, target.address) if target.hop else None
            if source is not None:
                ends = source + target.address
                tunnels[ends] = tuple(dict.fromkeys((*tunnels.get(ends, ()), service.options)))
    return tunnels


def stand_in(service: Service) -> Address | None:
    """Return the address that stands in for clients: the one asked for, in the VIP's family, or the VIP."""
    if not (service.options.snat and modes.BY_NAME[service.mode].sees_replies):
        return None
    asked = service.options.source
    return asked if asked and asked.version == service.vip.version else service.vip


def _compile_service(
    service: Service, hops: Mapping[Address, Hop | None], effective: Effective
) -> CompiledService:
    key = key_of(service)
    backends = sorted(service.backends, key=backend_key)
    targets = tuple(_target(key, one, hops, effective) for one in backends)
    scheduler = schedulers.BY_NAME[service.scheduler]
    weights = [target.weight if scheduler.weighted else min(target.weight, 1) for target in targets]
    shares = _shares(key, targets, weights, effective)
    names, mode = tuple(target.key for target in targets), modes.BY_NAME[service.mode]
    once = scheduler.cursor in (Cursor.COUNTER, Cursor.LEAST)
    source, slots = stand_in(service), _slots(_by_share(scheduler, shares).name, names, shares)
    return CompiledService(
        key=key,
        name=service.name,
        cursor=scheduler.cursor,
        prefixes=_prefixes(scheduler.cursor, service.persist),
        slots=slots,
        targets=targets,
        shares=shares,
        by_key={target.key: target for target in targets},
        mode=mode,
        options=service.options,
        persist=service.persist,
        timeouts_s=by_state(service.timeouts),
        source=wire_address(source) if source is not None else None,
        intended=_slots(service.scheduler, names, tuple(weights)),
        records_all=once or mode.sees_replies or service.persist is not None,
        refuses=service.on_all_down == "reject" and not len(slots),
        samples=service.samples,
    )


def _target(
    service: bytes, backend: Backend, hops: Mapping[Address, Hop | None], effective: Effective
) -> Target:
    names = service, backend_key(backend)
    return Target(
        key=names[1],
        hop=hops.get(backend.address),
        address=wire_address(backend.address),
        port=backend.port.to_bytes(2, "big") if backend.port != SAME_PORT else b"",
        weight=effective.weights.get(names, backend.weight),
        up=names not in effective.down,
    )


def _shares(
    service: bytes, targets: Sequence[Target], weights: Sequence[int], effective: Effective
) -> tuple[int, ...]:
    """Return the share of new flows of each target; in hundredths of weights while one starts slowly."""
    percents = [effective.percents.get((service, one.key), _WHOLE) for one in targets]
    scales = [1] * len(targets) if set(percents) <= {_WHOLE} else percents
    shares = [
        weight * scale if target.up and target.hop is not None else 0
        for target, weight, scale in zip(targets, weights, scales, strict=True)
    ]
    over = sum(shares) // _MOST_IN_ALL + 1
    return tuple(-(-share // over) for share in shares)


def _by_share(scheduler: Scheduler, shares: Sequence[int]) -> Scheduler:
    """Return the method that gives backends these shares: the weighted twin while one starts slowly."""
    if scheduler.weighted or len({*shares} - {0}) < 2:
        return scheduler
    return schedulers.BY_NAME[f"w{scheduler.name}"]


def _prefixes(cursor: Cursor, persist: Persist | None) -> tuple[int, int] | None:
    if persist is not None:
        return persist.ipv4_prefix, persist.ipv6_prefix
    return WHOLE_ADDRESS if cursor is Cursor.CLIENT_HASH else None


@lru_cache(maxsize=1024)  # services often share their backends, and most recompilations change no weight
def _slots(scheduler: str, identities: tuple[bytes, ...], weights: tuple[int, ...]) -> memoryview:
    slots = schedulers.BY_NAME[scheduler].compile(identities, weights)
    return memoryview(slots.astype("u2").tobytes()).cast("H")


def find_service(table: ForwardingTable, vip: bytes, dport: bytes, protocol: int) -> CompiledService | None:
    """Return the service of a VIP, port (two wire bytes) and protocol; one for every port comes second."""
    services, tail = table.services, bytes((protocol, 0))
    return services.get(vip + dport + tail) or services.get(vip + b"\0\0" + tail)


def diff(old: ForwardingTable, new: ForwardingTable) -> TableDiff:
    """Return what turns ``old`` into ``new``; false when there is nothing to do."""
    return TableDiff(
        removed=frozenset(old.services.keys() - new.services.keys()),
        put={key: one for key, one in new.services.items() if old.services.get(key) != one},
        interfaces=None if old.interfaces == new.interfaces else new.interfaces,
        mtus=None if old.mtus == new.mtus else new.mtus,
        own=None if old.own == new.own else new.own,
    )


def apply(change: TableDiff, old: ForwardingTable) -> ForwardingTable:
    """Return the table that a difference makes of ``old``: ``apply(diff(a, b), a) == b``."""
    services = {key: one for key, one in old.services.items() if key not in change.removed}
    services.update(change.put)
    interfaces = old.interfaces if change.interfaces is None else change.interfaces
    mtus = old.mtus if change.mtus is None else change.mtus
    return _assemble(services, interfaces, mtus, old.own if change.own is None else change.own)

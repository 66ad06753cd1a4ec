"""Balancers drawn at random: services of every mode, and how each becomes another one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from ipaddress import ip_address
from random import Random

import packets as p

from dsrlb.model import (
    Address,
    Backend,
    Hop,
    ModeOptions,
    Persist,
    Service,
    Timeouts,
    person_mac,
    wire_address,
)
from dsrlb.standing import AS_CONFIGURED, Names, Standing, effective, named
from dsrlb.table import ForwardingTable, compile_table

SCHEDULERS = "rr", "wrr", "lc", "wlc", "hash", "maglev", "maglev"
WEIGHTS = 1, 1, 1, 1, 2, 3, 7, 0
MTUS = 0, 1500, 1500, 1500, 1400, 1280, 576, 120
BRIEF = Timeouts(udp_s=30, syn_s=6, established_s=90, fin_s=12, closed_s=3)
INTERFACES: Mapping[int, bytes | None] = {
    p.IFINDEX: p.mac_bytes(p.BALANCER_MAC),
    p.OTHER_IFINDEX: p.mac_bytes(p.INNER_MAC),
}
NEAR = [(address, p.mac_bytes(mac)) for address, mac in zip(p.BACKENDS, p.BACKEND_MACS, strict=True)]
NEAR += [(address, p.mac_bytes(mac)) for address, mac in zip(p.BACKENDS6, p.BACKEND_MACS, strict=True)]
ROUTER = p.mac_bytes(p.ROUTER_MAC)
FAR = [(f"198.18.2{n}.2", ROUTER) for n in range(4)] + [(f"2001:db8:2{n}::2", ROUTER) for n in range(4)]
INNER = [(f"198.18.2.1{n}", p.mac_bytes(f"02:00:c6:12:02:1{n}")) for n in range(1, 5)]
INNER += [(f"2001:db8:2::1{n}", p.mac_bytes(f"02:00:c6:12:02:1{n}")) for n in range(1, 5)]
OWN = {4: wire_address(ip_address(p.BALANCER_IP)), 6: wire_address(ip_address(p.BALANCER_IP6))}
PLACES = {"l2dsr": NEAR, "l3dsr": FAR, "inline": INNER}
VIPS = p.VIP, p.VIP6, p.OTHER_VIP
FATES = "keep", "reject", "drop"
SAMPLED = 0.6  # of TCP services
PORTS = (80, "tcp"), (53, "udp"), (0, "tcp"), (0, "udp"), (8080, "tcp")


@dataclass(frozen=True)
class Setting:
    """A balancer: what it is told, and what it finds out about its ways to the backends."""

    services: tuple[Service, ...]
    hops: Mapping[Address, Hop | None]
    mtus: Mapping[int, int] = field(default_factory=dict)
    standings: Mapping[Names, Standing] = field(default_factory=dict)

    def compiled(self) -> ForwardingTable:
        """Return the forwarding table."""
        said = effective(self.services, self.standings)
        return compile_table(self.services, self.hops, INTERFACES, self.mtus, said, own=set(OWN.values()))

    def without(self, name: str) -> Setting:
        """Return the same without one of its services."""
        return replace(self, services=tuple(one for one in self.services if one.name != name))

    def person(self) -> str:
        """Return it as a person reads it: a line for each service."""
        lines = [_person_service(one, self.hops, self.standings) for one in self.services]
        return "\n".join([*lines, f"mtus {dict(self.mtus)}"])


def _person_service(
    service: Service, hops: Mapping[Address, Hop | None], standings: Mapping[Names, Standing]
) -> str:
    behind = []
    for names, one in named(service):
        hop = hops[one.address]
        port = f":{one.port}" if one.port else ""
        way = f"by {hop.ifindex} to {person_mac(hop.dst_mac)}, mtu {hop.mtu_bytes}" if hop else "no hop"
        source = "" if hop is None or hop.source is not None else ", no source"
        stands = f", {standings[names]}" if names in standings else ""
        behind.append(f"{one.address}{port} weight {one.weight} ({way}{source}{stands})")
    words = [service.name, service.mode, service.scheduler, service.on_all_down]
    words += ["sampled"] if service.samples else []
    words += [_person_changes(one) for one in (service.options, service.persist, service.timeouts) if one]
    return " ".join((*words, "->", "; ".join(behind)))


def _person_changes(of: ModeOptions | Persist | Timeouts) -> str:
    """Return the fields that are not as they would be by themselves."""
    given = {one.name: getattr(of, one.name) for one in fields(of) if getattr(of, one.name) != one.default}
    return ", ".join(f"{name}={value}" for name, value in given.items())


def draw(rng: Random, modes: Sequence[str]) -> Setting:
    """Return a balancer whose services are of some of these modes."""
    wanted = rng.sample([(vip, *port) for vip in VIPS for port in PORTS], rng.randrange(1, 7))
    services = tuple(_service(rng, vip, port, protocol, rng.choice(modes)) for vip, port, protocol in wanted)
    mtus = {p.IFINDEX: 1500} if rng.random() < 0.8 else {p.IFINDEX: rng.choice((576, 1280))}
    return Setting(services, _hops(rng, services, {}), mtus)


def _service(rng: Random, vip: str, port: int, protocol: str, mode: str) -> Service:
    return Service(
        vip=ip_address(vip),
        port=port,
        protocol=protocol,  # type: ignore[arg-type]  # one of its words
        mode=mode,
        scheduler=rng.choice(SCHEDULERS),
        backends=_backends(rng, vip, mode),
        options=_options(rng, mode),
        persist=_persist(rng),
        timeouts=rng.choice((BRIEF, Timeouts())),
        on_all_down=rng.choice(FATES),  # type: ignore[arg-type]  # they are its words
        passive=rng.random() < SAMPLED,
    )


def _backends(rng: Random, vip: str, mode: str) -> tuple[Backend, ...]:
    places = [one for one, _ in PLACES[mode] if mode != "inline" or (":" in one) == (":" in vip)]
    chosen = rng.sample(places, rng.randrange(1, len(places) + 1))
    has_port = mode == "inline" and rng.random() < 0.5
    return tuple(
        Backend(ip_address(one), rng.choice(WEIGHTS), port=8080 if has_port else 0) for one in chosen
    )


def _options(rng: Random, mode: str) -> ModeOptions:
    if mode == "inline":
        snat = rng.random() < 0.4
        return ModeOptions(snat=snat, source=_source(rng) if snat else None)
    if mode == "l3dsr":
        encap = rng.choice(("ipip", "ipip", "gue", "gue1"))
        clamp_mss = rng.random() < 0.3
        return ModeOptions(encap, rng.choice((6080, 5555)), _source(rng), clamp_mss)  # type: ignore[arg-type]
    return ModeOptions()


def _source(rng: Random) -> Address | None:
    return rng.choice((None, None, ip_address("198.18.1.20"), ip_address("2001:db8:1::20")))


def _persist(rng: Random) -> Persist | None:
    if rng.random() < 0.7:
        return None
    return Persist(rng.choice((20, 300)), rng.choice((32, 32, 24, 30)), rng.choice((128, 64, 0)))


def _hops(
    rng: Random, services: Sequence[Service], before: Mapping[Address, Hop | None]
) -> dict[Address, Hop | None]:
    """Return the ways to all backends: those known before, others drawn."""
    macs = {ip_address(one): mac for places in PLACES.values() for one, mac in places}
    inner = {ip_address(one) for one, _ in INNER}
    found = {}
    for address in {one.address: None for service in services for one in service.backends}:
        by = p.OTHER_IFINDEX if address in inner and rng.random() < 0.9 else p.IFINDEX
        source = OWN[address.version] if rng.random() < 0.95 else None
        hop = Hop(by, INTERFACES[by] or b"", macs[address], rng.choice(MTUS), source)
        found[address] = before[address] if address in before else hop if rng.random() < 0.9 else None
    return found


def changed(rng: Random, old: Setting, modes: Sequence[str]) -> Setting:
    """Return a balancer after one more reload, a neighbour that was lost or found, or a word of health."""
    kind, services = rng.random(), list(old.services)
    which = rng.randrange(len(services))
    one, hops, mtus = services[which], dict(old.hops), old.mtus
    if rng.random() < 0.4:
        return replace(old, standings=_standings(rng, one, old.standings))
    if kind < 0.35:  # neighbours
        address = rng.choice(list(hops))
        forgotten = {each: hop for each, hop in hops.items() if each != address}
        hops = {**_hops(rng, services, forgotten)} if hops[address] is None else {**hops, address: None}
    elif kind < 0.6:
        services[which] = replace(one, backends=_backends(rng, str(one.vip), one.mode))
    elif kind < 0.75:
        weighed = tuple(replace(each, weight=rng.choice(WEIGHTS)) for each in one.backends)
        services[which] = replace(one, backends=weighed)
    elif kind < 0.85:
        passive = rng.random() < SAMPLED
        services[which] = replace(
            one, scheduler=rng.choice(SCHEDULERS), persist=_persist(rng), passive=passive
        )
    elif kind < 0.95:
        mode = rng.choice(modes)
        services[which] = _service(rng, str(one.vip), one.port, one.protocol, mode)
    elif len(services) > 1:
        del services[which]
    else:
        mtus = {p.IFINDEX: rng.choice((576, 1280, 1500))}
    return Setting(tuple(services), _hops(rng, services, hops), mtus, old.standings)


def _standings(rng: Random, service: Service, before: Mapping[Names, Standing]) -> dict[Names, Standing]:
    """Return standings after something was heard of a backend of a service, or of all."""
    behind = [names for names, _ in named(service)]
    heard = behind if rng.random() < 0.3 else [rng.choice(behind)]
    change = rng.choice(
        (
            *({"up": False},) * 3,
            *({"up": True},) * 2,
            *({"enabled": False}, {"drained": True}, {"weight": rng.choice(WEIGHTS)}),
            *(
                {"share_percent": rng.choice((20, 50))},
                {"share_percent": 100, "drained": False, "enabled": True},
            ),
        )
    )
    return {**before, **{names: replace(before.get(names, AS_CONFIGURED), **change) for names in heard}}

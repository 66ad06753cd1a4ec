"""What serving stands on here: interfaces, and the way to each backend.  Looks and asks; changes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

from dsrlb import modes
from dsrlb import table as tables
from dsrlb.config import Config, located
from dsrlb.errors import ConfigError
from dsrlb.host.guard import Answers, Guarded
from dsrlb.host.links import Link, default_interface, link, link_at, own_addresses
from dsrlb.host.neighbours import Route, routes_to
from dsrlb.host.ownership import find_owner
from dsrlb.model import Address, Backend, person_mac
from dsrlb.modes.base import wraps
from dsrlb.preflight_proxy import proxy_findings

OWNERS_AT_ONCE = 256  # each waits 0.6 s for an answer, and costs a thread


@dataclass(frozen=True)
class Way:
    """How frames get to a backend: out of which interface, and to whose MAC."""

    link: Link
    next_hop: Address  # the backend itself, or the router before it
    mtu_bytes: int
    source: Address | None  # this host's own address on that way

    @property
    def asked(self) -> tuple[int, Address]:
        """On which interface (ifindex) to ask for the MAC, and of whom."""
        return self.link.ifindex, self.next_hop


@dataclass(frozen=True)
class Ground:
    """The interfaces that take the VIPs' frames, and the way to each backend."""

    links: tuple[Link, ...]
    vips: tuple[Address, ...]  # and the sources that stand in for clients: all addresses that are ours
    guarded: tuple[Guarded, ...]  # what the host's own stack is kept off
    ways: Mapping[Address, Way]
    fixed_macs: Mapping[Address, bytes]  # given by hand
    hosted: tuple[Address, ...] = ()  # the VIPs of mode proxy, which are to be this host's own
    lent: tuple[Address, ...] = ()  # those of them that it has for dsrlb's sake, and else not

    @property
    def claimed(self) -> tuple[Guarded, ...]:
        """What no other dsrlb on this host may serve."""
        return (*self.guarded, *self.hosted)


class Finding(NamedTuple):
    """A reason not to serve, and the address, the interface or the word of the file that it is about."""

    subject: Address | str
    sentence: str
    is_old: bool = False  # what is served already can be served on


def survey(config: Config, *, force: bool = False, ours: Iterable[Address] = ()) -> Ground:
    """Return the ground, or raise ConfigError with everything that keeps this host from serving.

    With ``force`` a VIP that is configured on this host is no reason to refuse, nor an expired certificate.
    """
    ground, found = look(config, force=force, ours=ours)
    if found:
        raise ConfigError(*located(config, found))
    return ground


def look(
    config: Config, *, force: bool = False, ours: Iterable[Address] = ()
) -> tuple[Ground, tuple[Finding, ...]]:
    """Return what there is of the ground, and everything that keeps this host from serving.

    ``ours`` are addresses that this host has for mode proxy only, as long as that is served.
    """
    found = [one for one in map(Finding._make, proxy_findings(config)) if not (force and one.is_old)]
    vips, guarded = owned_by(config), guarded_by(config)
    hosted, ours = hosted_by(config), frozenset(ours)
    anyway = {own.address for own in own_addresses(hosted)} - ours
    lent = tuple(vip for vip in hosted if vip not in anyway)
    try:
        names = config.interfaces or (default_interface(),)
    except ConfigError as error:
        found += (Finding("", sentence) for sentence in error.problems)
        return Ground((), vips, guarded, {}, {}, hosted, lent), tuple(found)
    links = tuple(_links(names, found))
    if not force:
        found += vips_owned_here([one.vip for one in config.forwarded if one.vip not in ours])
    found += _sources_owned_here(config)
    ways, lost = find_ways(config, links)
    links += links_of_answers(config, ways, links)
    found += _doubled(links)
    found += _broadcast_vips((*vips, *hosted), links)
    found += (Finding(address, sentence) for address, sentence in lost.items())
    found += _own_macs(config, [*links, *(way.link for way in ways.values())])
    backends = [backend for service in config.forwarded for backend in service.backends]
    fixed = {one.address: one.mac for one in backends if one.mac is not None}
    return Ground(links, vips, guarded, ways, fixed, hosted, lent), tuple(dict.fromkeys(found))


def owned_by(config: Config) -> tuple[Address, ...]:
    """Return the addresses that are dsrlb's: VIPs, and sources that stand in for clients."""
    both = ((service.vip, tables.stand_in(service)) for service in config.forwarded)
    return tuple(dict.fromkeys(address for pair in both for address in pair if address is not None))


def hosted_by(config: Config) -> tuple[Address, ...]:
    """Return the VIPs of mode proxy, which this host has for as long as they are served."""
    return tuple(dict.fromkeys(service.vip for service in config.proxied))


def guarded_by(config: Config) -> tuple[Guarded, ...]:
    """Return what the host's own stack is kept off: packets to those, and answers to clients themselves."""
    answers = (
        Answers(backend.address, backend.port or service.port, service.protocol)
        for service in config.forwarded
        if modes.BY_NAME[service.mode].sees_replies and tables.stand_in(service) is None
        for backend in service.backends
    )
    return (*owned_by(config), *dict.fromkeys(answers))


def links_of_answers(config: Config, ways: Mapping[Address, Way], links: Sequence[Link]) -> tuple[Link, ...]:
    """Return the interfaces, beside those given, by which servers' answers come in."""
    known = {one.ifindex for one in links}
    behind = (
        ways[backend.address].link
        for service in config.forwarded
        if modes.BY_NAME[service.mode].sees_replies
        for backend in service.backends
        if backend.address in ways
    )
    return tuple({one.ifindex: one for one in behind if one.ifindex not in known}.values())


def find_ways(config: Config, links: Sequence[Link]) -> tuple[dict[Address, Way], dict[Address, str]]:
    """Return the way to each backend, and why there is none for those lost."""
    ways: dict[Address, Way] = {}
    lost: dict[Address, str] = {}
    wanted = {
        (one, service.mode, tables.stand_in(service) is not None): None
        for service in config.forwarded
        for one in service.backends
    }
    routes = routes_to({backend.address for backend, _, _ in wanted})
    for backend, mode, has_source in wanted:
        way = _way_to(backend, routes[backend.address], links, modes.BY_NAME[mode], has_source)
        if isinstance(way, Way):
            ways[backend.address] = way
        else:
            lost[backend.address] = way
    for address in _sourceless(config, ways):
        del ways[address]
        lost[address] = (
            f"Backend {address}: this host has no IPv{address.version} address, which packets wrapped for it "
            "must come from; give it one, or name one that is routed here by --source."
        )
    return ways, lost


def _sourceless(config: Config, ways: Mapping[Address, Way]) -> set[Address]:
    """Return the backends that packets are to be wrapped for, with no address to send them from."""
    return {
        backend.address
        for service in config.forwarded
        if wraps(modes.BY_NAME[service.mode], service.options) and service.options.source is None
        for backend in service.backends
        if backend.address in ways and ways[backend.address].source is None
    }


def vips_owned_here(vips: Sequence[Address]) -> Iterator[Finding]:
    """Yield a finding for each VIP that is configured on this host."""
    for own in own_addresses(vips):
        yield Finding(
            own.address,
            f"VIP {own.address} is configured on this host ({own.interface}), whose own stack would answer "
            f"its clients; take it off, dsrlb owns it without: ip addr del {own}.",
        )


def _sources_owned_here(config: Config) -> Iterator[Finding]:
    """Yield a finding for each source for servers to see that is configured on this host."""
    vips = {service.vip for service in config.forwarded}
    for own in own_addresses(address for address in owned_by(config) if address not in vips):
        yield Finding(
            own.address,
            f"Source {own.address} is configured on this host ({own.interface}), whose own stack would take "
            "what servers answer; give an address that no machine has, or none: the VIP serves as well.",
        )


def other_owners(pairs: Iterable[tuple[Address, Link]], own: Iterable[Link]) -> list[Finding]:
    """Ask for each VIP on its link, and return a finding for each that another machine answers for.

    ``own`` are this host's interfaces: one may hear what another one answers.
    """
    asked, own_macs = list(pairs), {one.mac for one in own}
    if not asked:
        return []
    with ThreadPoolExecutor(max_workers=min(len(asked), OWNERS_AT_ONCE)) as pool:
        owners = list(pool.map(lambda pair: find_owner(*pair), asked))
    return [
        Finding(
            vip,
            f"VIP {vip} already belongs to another machine: {person_mac(mac)} answers for it on {one.name}; "
            "stop it there (on a real server: dsrlb backend setup), or start with --force.",
        )
        for (vip, one), mac in zip(asked, owners, strict=True)
        if mac is not None and mac not in own_macs
    ]


def _links(names: Sequence[str], found: list[Finding]) -> Iterator[Link]:
    for name in names:
        try:
            here = link(name)
        except ConfigError as error:
            found += (Finding(name, sentence) for sentence in error.problems)
            continue
        if not here.up:
            found.append(
                Finding(name, f"Interface {name} is down; bring it up first: ip link set {name} up.")
            )
        yield here


def _doubled(links: Sequence[Link]) -> Iterator[Finding]:
    """Yield a finding for each interface whose frames would be taken twice."""
    names = {one.ifindex: one.name for one in links}
    for one in links:
        if one.vlan_of in names:
            yield Finding(
                one.name,
                f"Interface {one.name} is a VLAN of {names[one.vlan_of]}, which sees its frames too: both "
                "together would forward each twice; name one of them.",
            )


def _broadcast_vips(vips: Sequence[Address], links: Sequence[Link]) -> Iterator[Finding]:
    networks = [(one.name, own.network) for one in links for own in one.ipv4 if own.network.prefixlen < 31]
    for vip in vips:
        for name, network in networks:
            if vip in (network.broadcast_address, network.network_address):
                yield Finding(
                    vip,
                    f"VIP {vip} is the broadcast or network address of {network} on {name}; take a host's.",
                )


def _own_macs(config: Config, links: Sequence[Link]) -> Iterator[Finding]:
    """Yield a finding for each backend whose given MAC is that of an interface frames would leave by."""
    names = {one.mac: one.name for one in links}
    for service in config.forwarded:
        for backend in service.backends:
            if backend.mac in names:
                yield Finding(
                    backend.address,
                    f"Backend {backend.address}: mac={person_mac(backend.mac)} is this host's own "
                    f"({names[backend.mac]}); give the server's, or leave it out and it is found.",
                )


def _way_to(
    backend: Backend, route: Route | None, links: Sequence[Link], mode: modes.Mode, has_source: bool
) -> Way | str:
    """Return the way to a backend, or why the mode cannot reach it."""
    address = backend.address
    if route is not None and route.is_local:
        return f"Backend {address} is this host itself; name another machine."
    if route is not None and route.is_broadcast:
        return f"Backend {address} is the broadcast address of {route.ifname}'s network; give a server's own."
    if backend.mac is not None and (route is None or route.gateway is not None) and links:
        # Whoever gives a MAC vouches that it is on the segment.
        return Way(links[0], address, links[0].mtu_bytes, route.source if route else None)
    if route is None:
        return f"Backend {address} is unreachable: this host has no route to it."
    if mode.sees_replies and not has_source and route.gateway is not None:
        return (
            f"Backend {address} is behind router {route.gateway}, so its answers would not come back by this "
            "balancer; let them be addressed to it with --snat."
        )
    if mode.needs_same_link and route.gateway is not None:
        return (
            f"Backend {address} is off-link (behind router {route.gateway}): l2dsr rewrites the MAC only, so "
            "servers must be on its own network; those behind routers need mode l3dsr."
        )
    known = {one.ifindex: one for one in links}.get(route.ifindex) or link_at(route.ifindex)
    if known is None:
        return f"Backend {address} is behind interface {route.ifname}, which is not an Ethernet interface."
    mtu_bytes = min(known.mtu_bytes, route.mtu_bytes or known.mtu_bytes)
    return Way(known, route.gateway or address, mtu_bytes, route.source)

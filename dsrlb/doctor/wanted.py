"""What a real server is to be, by the configuration and by how this host reaches it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from dsrlb import modes
from dsrlb.config import Config
from dsrlb.doctor.scene import names_in
from dsrlb.health.naming import setup_line
from dsrlb.host.neighbours import neighbours
from dsrlb.model import ANY_PORT, Address, Backend, Service, wire_address
from dsrlb.modes.base import wraps
from dsrlb.preflight import Ground, Way
from dsrlb.table import stand_in


@dataclass(frozen=True)
class Wanted:
    """One real server."""

    label: str
    address: Address
    serves: tuple[tuple[Service, Backend], ...]
    way: Way | None = None  # None: this host has none to it
    balancer: tuple[Address, ...] = ()  # this host's addresses on the link to it
    mac: bytes | None = None  # given by hand, whoever answers
    clients: Mapping[int, Address] = field(default_factory=dict)  # one of each IP version, where it is known

    @property
    def services(self) -> tuple[Service, ...]:
        """The services that it is in."""
        return tuple(service for service, _ in self.serves)

    @property
    def at_vip(self) -> tuple[Service, ...]:
        """Those of them whose packets it takes at the VIP."""
        return tuple(one for one in self.services if not modes.BY_NAME[one.mode].sees_replies)

    @property
    def vips(self) -> tuple[Address, ...]:
        """The VIPs that it is to have."""
        return tuple(dict.fromkeys(one.vip for one in self.at_vip))

    @property
    def wrapped(self) -> tuple[Service, ...]:
        """The services whose packets come wrapped."""
        return tuple(one for one in self.services if wraps(modes.BY_NAME[one.mode], one.options))

    @property
    def answered_by_us(self) -> tuple[Service, ...]:
        """The services whose answers are to come to the balancer though they are addressed to clients."""
        return tuple(
            one for one in self.services if modes.BY_NAME[one.mode].sees_replies and stand_in(one) is None
        )

    @property
    def is_neighbour(self) -> bool:
        """Whether it is on a link of this host's."""
        return self.way is not None and self.way.next_hop == self.address

    def ports(self) -> Iterator[tuple[Service, Address, int]]:
        """Yield where it is to listen: for which service, at which address and port."""
        for service, backend in self.serves:
            if service.port == ANY_PORT:
                continue
            if modes.BY_NAME[service.mode].sees_replies:
                yield service, self.address, backend.port or service.port
            else:
                yield service, service.vip, service.port


def setup_command(service: Service, gateway: Address | None = None) -> str:
    """Return the line that makes a machine a real server of a service, to be run there."""
    line = setup_line(service.mode, service.vip, service.options)
    return line if gateway is None else f"{line} --gateway {gateway}"


def wanted_servers(config: Config, ground: Ground, clients: Mapping[int, Address]) -> list[Wanted]:
    """Return the real servers of a configuration, each once, in its order."""
    serves: dict[Address, list[tuple[Service, Backend]]] = {}
    for service in config.forwarded:
        for backend in service.backends:
            serves.setdefault(backend.address, []).append((service, backend))
    names = names_in(config)
    return [
        _wanted(names[address], address, tuple(pairs), ground, clients) for address, pairs in serves.items()
    ]


def _wanted(
    label: str,
    address: Address,
    serves: tuple[tuple[Service, Backend], ...],
    ground: Ground,
    clients: Mapping[int, Address],
) -> Wanted:
    way = ground.ways.get(address)
    mac = ground.fixed_macs.get(address)
    if way is None:
        return Wanted(label, address, serves, mac=mac, clients=clients)
    own: list[Address] = [one.ip for one in way.link.ipv4]
    own += [one.ip for one in way.link.ipv6]
    return Wanted(label, address, serves, way, tuple(own), mac or _given(way, address), clients)


def _given(way: Way, address: Address) -> bytes | None:
    """Return the MAC that somebody gave the kernel by hand."""
    if way.next_hop != address:
        return None
    entry = neighbours(way.link.ifindex).get((way.link.ifindex, wire_address(address)))
    return entry.given if entry is not None else None

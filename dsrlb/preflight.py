"""What serving stands on here: interfaces, and the way to each backend.  Looks, and changes nothing."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from dsrlb import modes
from dsrlb.config import Config
from dsrlb.errors import ConfigError
from dsrlb.host.links import Link, default_interface, link, local_owner
from dsrlb.host.neighbours import Route, route_to
from dsrlb.model import Address, Backend


@dataclass(frozen=True)
class Ground:
    """The interfaces that take the VIPs' frames, and the interface behind which each backend is."""

    links: tuple[Link, ...]
    vips: tuple[Address, ...]
    ways: Mapping[Address, Link]
    fixed_macs: Mapping[Address, bytes]  # given by hand


def survey(config: Config, *, force: bool = False) -> Ground:
    """Return the ground, or raise ConfigError with everything that keeps this host from serving.

    With ``force`` a VIP that is configured on this host is no reason to refuse.
    """
    found: list[str] = []
    links = tuple(_links(config.interfaces or (default_interface(),), found))
    vips = tuple(dict.fromkeys(service.vip for service in config.services))
    if not force:
        found += _vips_owned_here(vips)
    ways: dict[Address, Link] = {}
    fixed: dict[Address, bytes] = {}
    for mode, backend in _backends(config):
        if backend.mac is not None:
            fixed[backend.address] = backend.mac
        try:
            ways[backend.address] = _way_to(backend, links, modes.BY_NAME[mode].needs_same_link)
        except ConfigError as error:
            found += error.problems
    if found:
        raise ConfigError(*dict.fromkeys(found))
    return Ground(links, vips, ways, fixed)


def _backends(config: Config) -> list[tuple[str, Backend]]:
    """Return each backend once, with the mode that it is reached by."""
    return list({(s.mode, backend): None for s in config.services for backend in s.backends})


def _links(names: Sequence[str], found: list[str]) -> Iterator[Link]:
    for name in names:
        try:
            here = link(name)
        except ConfigError as error:
            found += error.problems
            continue
        if not here.up:
            found.append(f"Interface {name} is down; bring it up first: ip link set {name} up.")
        yield here


def _vips_owned_here(vips: Sequence[Address]) -> Iterator[str]:
    for vip in vips:
        owner = local_owner(vip)
        if owner is not None:
            yield (
                f"VIP {vip} is configured on this host ({owner}), whose own stack would answer its clients; "
                f"take it off, dsrlb owns it without: ip addr del {vip}/{vip.max_prefixlen} dev {owner}."
            )


def _way_to(backend: Backend, links: Sequence[Link], same_link: bool) -> Link:
    """Return the interface behind which a backend is; ConfigError when the mode cannot reach it."""
    route = route_to(backend.address)
    if route is not None and route.is_local:
        raise ConfigError(f"Backend {backend.address} is this host itself; name another machine.")
    if backend.mac is not None and (route is None or route.gateway is not None) and links:
        return links[0]  # whoever gives a MAC vouches that it is on the segment
    if route is None:
        raise ConfigError(f"Backend {backend.address} is unreachable: this host has no route to it.")
    if same_link and route.gateway is not None:
        raise ConfigError(
            f"Backend {backend.address} is off-link (behind router {route.gateway}): l2dsr rewrites the MAC "
            "only, so servers must be on its own network; those behind routers need mode l3dsr (planned)."
        )
    return _link_of(route, links)


def _link_of(route: Route, links: Sequence[Link]) -> Link:
    for one in links:
        if one.ifindex == route.ifindex:
            return one
    return link(socket.if_indextoname(route.ifindex))

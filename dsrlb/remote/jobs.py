"""What each server of a configuration is to be: the words of ``backend-setup``, one job a mode."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dsrlb.errors import ConfigError, UsageError
from dsrlb.model import Address, Backend, ServerOptions, Service

Chosen = Mapping[str, Any]  # by the names of ServerOptions, and "decap" as it is said
FlagsOf = Callable[[Service, Backend], tuple[str, ...]]
GatewayOf = Callable[[Address], Address | None]


@dataclass(frozen=True)
class Job:
    """What a server is to do in a mode; the same for all of these VIPs."""

    mode: str
    vips: tuple[Address, ...]
    flags: tuple[str, ...]

    def words(self, verb: str, *, plan: bool = False) -> list[str]:
        """Return the arguments of ``backend-setup``."""
        vips = [word for vip in self.vips for word in ("--vip", str(vip))]
        return [verb, "--mode", self.mode, *vips, *self.flags, *(["--plan"] if plan else [])]


@dataclass(frozen=True)
class Server:
    """A machine that is a backend of some services; without a job where their modes ask nothing of it."""

    name: str
    addresses: tuple[Address, ...]  # the first is where it is reached
    jobs: tuple[Job, ...]

    @property
    def address(self) -> Address:
        """Where it is reached, unless another way is said."""
        return self.addresses[0]


def servers_of(services: Sequence[Service], flags_of: FlagsOf) -> list[Server]:
    """Return the servers in the order of the services, each once, with what they are to be."""
    names = names_of(backend for service in services for backend in service.backends)
    addresses: dict[str, list[Address]] = {}
    jobs: dict[str, dict[tuple[str, tuple[str, ...]], list[Address]]] = {}
    for service in services:
        for backend in service.backends:
            name = names[backend.address]
            _add(addresses.setdefault(name, []), backend.address)
            mine = jobs.setdefault(name, {})
            if needs_setup(service):
                _add(mine.setdefault((service.mode, flags_of(service, backend)), []), service.vip)
    return [
        Server(
            name,
            tuple(addresses[name]),
            tuple(Job(mode, tuple(vips), flags) for (mode, flags), vips in mine.items()),
        )
        for name, mine in jobs.items()
    ]


def _add(these: list[Address], one: Address) -> None:
    if one not in these:
        these.append(one)


def names_of(backends: Iterable[Backend]) -> dict[Address, str]:
    """Return what the server at each address is called: by its address if it has no name of its own.

    One name at an IPv4 and an IPv6 address is one machine; at two of one version it is two.
    """
    labels: dict[Address, str] = {}
    for backend in backends:
        labels[backend.address] = labels.get(backend.address) or backend.label
    versions: dict[str, list[int]] = {}
    for address, label in labels.items():
        versions.setdefault(label, []).append(address.version)
    own = {label for label, found in versions.items() if label and len(found) == len({*found})}
    return {address: label if label in own else str(address) for address, label in labels.items()}


def needs_setup(service: Service) -> bool:
    """Return whether the mode of a service asks anything of its servers."""
    return service.mode in ("l2dsr", "l3dsr") or (service.mode == "inline" and not service.options.snat)


def chosen_of(servers: Sequence[Server], wanted: Sequence[str]) -> list[Server]:
    """Return the servers asked for by name or address, all if none is; UsageError for an unknown one."""
    for one in wanted:
        if not any(one in _called(server) for server in servers):
            known = ", ".join(server.name for server in servers)
            raise UsageError(f"--backend {one[:80]!r} is in no service of this file; there are {known}")
    return [server for server in servers if not wanted or _called(server) & {*wanted}]


def _called(server: Server) -> set[str]:
    return {server.name, *map(str, server.addresses)}


# ----------------------------------------------------------------------------- flags


def flags_by(chosen: Chosen, gateway_of: GatewayOf) -> FlagsOf:
    """Return how a server is set up for a service; what is chosen by hand goes to the modes that heed it.

    ``gateway_of``: this host's own address on the link of a server; None where a router is in between.
    """

    def flags_of(service: Service, backend: Backend) -> tuple[str, ...]:
        match service.mode:
            case "l3dsr":
                return (*_of_l3dsr(service, backend), *_said(chosen, "decap", "device", "advmss", "networks"))
            case "inline":
                gateway = _gateway(service, backend, chosen, gateway_of)
                return ("--gateway", str(gateway), *_said(chosen, "networks"))
            case _:
                return tuple(_said(chosen, "device"))

    return flags_of


def _of_l3dsr(service: Service, backend: Backend) -> Iterator[str]:
    options = service.options
    yield from ("--outer", str(backend.address.version))
    if options.encap != ServerOptions().encap:
        yield from ("--encap", options.encap, "--encap-port", str(options.encap_port))


def _said(chosen: Chosen, *names: str) -> Iterator[str]:
    for name in names:
        if name == "networks":
            for network in chosen.get(name, ()):
                yield from ("--client-net", network)
        elif name in chosen:
            yield from (f"--{name}", str(chosen[name]))


def _gateway(service: Service, backend: Backend, chosen: Chosen, gateway_of: GatewayOf) -> Address:
    by_hand: Address | None = chosen.get("gateway")
    if by_hand is not None and by_hand.version == service.vip.version:
        return by_hand
    found = gateway_of(backend.address)
    if found is None:
        raise ConfigError(
            f"service {service.label or service.name}: server {backend.address} is not on a link of "
            "this host, so its way back is not known; say --gateway ADDR, the balancer's address there."
        )
    return found

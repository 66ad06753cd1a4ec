"""What services of mode proxy stand on here: certificates, the places where they listen, HAProxy."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime

from dsrlb.control.proxy_ports import bound, refuse_taken
from dsrlb.doctor.scene import Row, Scene
from dsrlb.engines.haproxy.names import place
from dsrlb.engines.haproxy.places import Places
from dsrlb.errors import ConfigError
from dsrlb.host import certificates
from dsrlb.model import Address, Service

ASKED_AT_ONCE, CONNECT_WITHIN_S = 128, 3.0


@dataclass(frozen=True)
class ProxyFacts:
    """All services of mode proxy together."""

    now: datetime
    faults: tuple[str, ...]  # sentences about files of certificates
    ends: tuple[tuple[str, datetime], ...]  # files that can be used, and when they expire
    unnamed: tuple[tuple[str, str], ...]  # service, and a host of its routes that no certificate is for
    listening: tuple[tuple[str, bool | None], ...]  # services: free (True), HAProxy's (None), taken (False)
    servers: tuple[
        tuple[str, str, str], ...
    ]  # what findings call it, address and port, why not; empty: it does
    haproxy: Row | None  # what the running dsrlb says of it; None: there is none
    runs: bool  # a dsrlb


def proxy_facts(scene: Scene) -> ProxyFacts:
    """Ask this host."""
    now = certificates.now()
    several = [(one, one.proxy) for one in scene.config.proxied if one.proxy is not None]
    return ProxyFacts(
        now=now,
        faults=tuple(fault.sentence for _, options in several for fault in certificates.faults(options, now)),
        ends=tuple(dict.fromkeys(end for _, options in several for end in certificates.ends(options))),
        unnamed=tuple((one.name, host) for one, options in several for host in certificates.unnamed(options)),
        listening=tuple(_listening(scene)),
        servers=tuple(_servers(scene)),
        haproxy=scene.running.engine.get("haproxy") if scene.running is not None else None,
        runs=scene.running is not None and not scene.running.trouble,
    )


def _listening(scene: Scene) -> Iterator[tuple[str, bool | None]]:
    ours = bound(Places(scene.haproxy_at).configuration)
    for service in scene.config.proxied:
        yield service.name, None if place(service.vip, service.port) in ours else _is_free(service)


def _is_free(service: Service) -> bool:
    try:
        refuse_taken((service,))
    except ConfigError:
        return False
    return True


def _servers(scene: Scene) -> Iterator[tuple[str, str, str]]:
    """Yield whether each server takes a connection from this host."""
    places = {
        (backend.address, backend.port or service.port): scene.label_at(backend.address)
        for service in scene.config.proxied
        for backend in service.backends
    }
    with ThreadPoolExecutor(max_workers=min(len(places), ASKED_AT_ONCE) or 1) as pool:
        for ((address, port), label), why in zip(places.items(), pool.map(_why_not, places), strict=True):
            yield label, f"{address} port {port}", why


def _why_not(at: tuple[Address, int]) -> str:
    try:
        socket.create_connection((str(at[0]), at[1]), timeout=CONNECT_WITHIN_S).close()
    except OSError as error:
        return error.strerror or f"no answer within {CONNECT_WITHIN_S:g} s"
    return ""

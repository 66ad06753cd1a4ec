"""Which services and backends an operator means."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from dsrlb.config import parse_backend, parse_vip
from dsrlb.errors import UsageError
from dsrlb.model import SAME_PORT, Backend, Service, person_backend
from dsrlb.standing import Names, named

MOST_NAMED = 8  # in an error

Chosen = tuple[Names, Service, Backend]


def services_of(services: Sequence[Service], text: str | None) -> list[Service]:
    """Return the services of a name, or of ``VIP:PORT[/tcp|/udp]``; without a text all."""
    if text is None:
        return list(services)
    found = [one for one in services if text in (one.label, one.name)] or _services_at(services, text)
    if not found:
        raise UsageError(f"no service is {text!r}; there {_listed(map(service_words, services))}")
    return found


def backends_of(services: Sequence[Service], backend: str | None, service: str | None) -> list[Chosen]:
    """Return the backends of a name or address, in a service or in all of them.

    An address without a port is that of every port there.  UsageError: there is none.
    """
    among = services_of(services, service)
    all_of_them = [(names, one, its) for one in among for names, its in named(one)]
    if backend is None:
        return all_of_them
    found = [one for one in all_of_them if one[2].label == backend] or _backends_at(all_of_them, backend)
    if not found:
        where = "" if service is None else f" of service {service}"
        known = dict.fromkeys(backend_words(names, its) for names, _, its in all_of_them)
        raise UsageError(f"no backend{where} is {backend!r}; there {_listed(known)}")
    return found


def service_words(service: Service) -> str:
    """Return a service as a person knows it."""
    return f"{service.name} ({service.label})" if service.label else service.name


def backend_words(names: Names, backend: Backend) -> str:
    """Return a backend as a person knows it."""
    said = person_backend(names[1])
    return f"{said} ({backend.label})" if backend.label else said


def _services_at(services: Sequence[Service], text: str) -> list[Service]:
    try:
        vip, port, protocol = parse_vip(text)
    except UsageError:
        return []
    return [one for one in services if (one.vip, one.port, one.protocol) == (vip, port, protocol)]


def _backends_at(among: Sequence[Chosen], text: str) -> list[Chosen]:
    try:
        asked = parse_backend(text.partition(",")[0])
    except UsageError:
        return []
    ports = (asked.port,)
    return [
        one
        for one in among
        if one[2].address == asked.address and (asked.port == SAME_PORT or one[2].port in ports)
    ]


def _listed(words: Iterable[str]) -> str:
    known = list(words)
    more = f" and {len(known) - MOST_NAMED} more" if len(known) > MOST_NAMED else ""
    return f"{'is' if len(known) == 1 else 'are'} {', '.join(known[:MOST_NAMED])}{more}"

"""Whether the places where services of mode proxy listen are free."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable
from pathlib import Path

from dsrlb.engines.haproxy.names import place
from dsrlb.errors import ConfigError
from dsrlb.model import Service

FREEBIND = {4: (socket.SOL_IP, 15), 6: (socket.IPPROTO_IPV6, 78)}  # linux/in.h, in6.h: IP_FREEBIND


def bound(configuration: Path) -> set[str]:
    """Return where a HAProxy listens that runs by a configuration."""
    try:
        return set(re.findall(r"^\s+bind (\S+)", configuration.read_text(), re.MULTILINE))
    except OSError:
        return set()


def refuse_taken(services: Iterable[Service], ours: Iterable[str] = ()) -> None:
    """Raise ConfigError if another program listens at the address and port of a service.

    ours: where it is HAProxy that does.
    """
    free = set(ours)
    wanted = [one for one in services if place(one.vip, one.port) not in free]
    taken = [one.name for one in wanted if not _is_free(one)]
    if taken:
        raise ConfigError(
            *(f"{name}: another program listens there; find it with ss -ltnp, and stop it." for name in taken)
        )


def _is_free(service: Service) -> bool:
    family = socket.AF_INET if service.vip.version == 4 else socket.AF_INET6
    with socket.socket(family) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections of before may linger
        sock.setsockopt(*FREEBIND[service.vip.version], 1)
        try:
            sock.bind((str(service.vip), service.port))
            sock.listen(1)
        except OSError:
            return False
    return True

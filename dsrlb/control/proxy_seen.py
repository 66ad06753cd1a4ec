"""HAProxy as a person and the metrics see it: which one it is, since when, and what it has counted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dsrlb.control.proxied import Proxied
from dsrlb.control.proxy_counts import Counts
from dsrlb.control.proxy_table import of_servers
from dsrlb.engines.haproxy.names import proxy_name
from dsrlb.standing import Names, key_of


@dataclass(frozen=True)
class HaproxySeen:
    """One moment of it."""

    version: str
    pid: int | None  # of its master process
    since_s: float | None  # seconds since 1970: when that began
    is_serving: bool
    reloads: int  # by this dsrlb
    restarts: int  # after it had ended by itself
    services: Mapping[bytes, Counts]  # by service key
    backends: Mapping[Names, Counts]


def haproxy_seen(proxied: Proxied) -> HaproxySeen | None:
    """Return what there is to see of it now; None where no service needs it."""
    process = proxied.process
    if process is None:
        return None
    counted = proxied.counted()
    return HaproxySeen(
        version=proxied.version,
        pid=process.pid,
        since_s=_began_s(process.pid),
        is_serving=process.is_running and not proxied.revival.is_at_work,
        reloads=proxied.reloads,
        restarts=proxied.revival.count,
        services={
            key_of(one): dict(counted.get((proxy_name(one), "FRONTEND"), {})) for one in proxied.services
        },
        backends=of_servers(proxied.services, counted),
    )


def _began_s(pid: int | None) -> float | None:
    try:
        return Path(f"/proc/{pid}").stat().st_ctime
    except OSError:
        return None

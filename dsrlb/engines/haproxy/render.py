"""Services of mode proxy as a configuration of HAProxy.

Pure.  How servers stand is written into the configuration too, so that a reload begins as things are::

    service ──► frontend (bind, TLS) ──► backend (balance) ──► server … weight 3 [disabled]
                                                               ▲
                               standings ── set server state, weight ──┘   without a reload

*Source*: HAProxy 2.6 configuration manual, sections 3 (global), 4 (proxies), 5 (bind, server).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import PurePath

from dsrlb.engines.haproxy import render_limits, render_tls
from dsrlb.engines.haproxy.names import socket_words
from dsrlb.engines.haproxy.render_backend import backend
from dsrlb.engines.haproxy.render_frontend import frontend
from dsrlb.engines.haproxy.render_routes import HTTPS_PORT, redirect_backends
from dsrlb.engines.haproxy.run_as import AS_WHO_STARTS_IT, RunAs
from dsrlb.engines.haproxy.states import ServerState, States, changes, states
from dsrlb.model import Service
from dsrlb.proxying import NO_PROXY

__all__ = ["ServerState", "changes", "configuration", "states"]


def configuration(
    services: Sequence[Service], states: States, runtime: PurePath, run_as: RunAs = AS_WHO_STARTS_IT
) -> str:
    """Return the text of haproxy.cfg for these services, with servers as they stand.

    runtime: where HAProxy is to listen for commands.  ConfigError: it cannot, by a name like that.
    """
    if any((one.proxy or NO_PROXY).transparent for one in services):
        run_as = AS_WHO_STARTS_IT  # HAProxy 2.6 refuses a user then: others' addresses take privileges
    lines = [
        "# Written by dsrlb from its own configuration: change that, this is written anew.",
        "",
        *_global(runtime, run_as, services),
        "",
        *_defaults(),
    ]
    for service in services:
        options = service.proxy or NO_PROXY
        https_port = _https_port(service, services)
        lines += ["", *frontend(service, options, https_port)]
        for group in dict.fromkeys(group for one in service.backends for group in one.groups):
            lines += ["", *backend(service, group, options, states)]
        lines += redirect_backends(service, options, https_port)
        lines += render_limits.tables(service, options)
    return "\n".join(lines) + "\n"


def _https_port(service: Service, services: Sequence[Service]) -> int:
    """Return where the VIP of a service is served by https: the usual port, or the only one that is."""
    own = (one for one in services if one.vip == service.vip and (one.proxy or NO_PROXY).certificates)
    ports = {one.port for one in own}
    return ports.pop() if len(ports) == 1 else HTTPS_PORT


def _global(runtime: PurePath, run_as: RunAs, services: Sequence[Service]) -> Iterator[str]:
    yield "global"
    yield f"    stats socket {socket_words(runtime)} mode 600 level admin expose-fd listeners"
    yield "    # connections of before a reload go on: to some clients it is a failure to be asked to end"
    yield "    close-spread-time infinite"
    yield "    hard-stop-after 5m"
    yield "    mworker-max-reloads 50"
    yield from (f"    {what} {name}" for what, name in run_as._asdict().items() if name)
    asks_clients = any((one.proxy or NO_PROXY).client_ca for one in services)
    yield from render_tls.global_lines(asks_clients=asks_clients)


def _defaults() -> Iterator[str]:
    yield "defaults"
    yield "    option redispatch 1   # another server, when one does not take a connection"
    yield "    option dontlognull"

"""Services of mode proxy as a configuration of HAProxy, and what of it can be changed while it runs.

Pure.  How servers stand is written into the configuration too, so that a reload begins as things are::

    service ──► frontend (bind, TLS) ──► backend (balance) ──► server … weight 3 [disabled]
                                                               ▲
                               standings ── set server state, weight ──┘   without a reload

*Source*: HAProxy 2.6 configuration manual, sections 3 (global), 4 (proxies), 5 (bind, server); management
guide, section 9.3 (runtime API).  TLS: Mozilla's intermediate recommendation, version 5.7.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath

from dsrlb.model import Address, Backend, ProxyOptions, Service
from dsrlb.standing import key_of, named
from dsrlb.table import CompiledService

MOST_WEIGHT = 256  # of a server, in HAProxy
BALANCE = {
    "rr": "roundrobin",
    "wrr": "roundrobin",
    "response": "roundrobin",
    "lc": "leastconn",
    "wlc": "leastconn",
    "hash": "source",
    "maglev": "source",
}
CIPHERS = (
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"
    "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305:"
    "DHE-RSA-AES128-GCM-SHA256:DHE-RSA-AES256-GCM-SHA384:DHE-RSA-CHACHA20-POLY1305"
)
CIPHERSUITES = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"


@dataclass(frozen=True)
class ServerState:
    """How a server is to stand: what the runtime API sets, and a configuration begins with."""

    weight: int  # 0 to MOST_WEIGHT; 0 keeps the connections that there are, and gives it no new ones
    is_in_use: bool  # False: no new connections, whatever its weight


def configuration(
    services: Sequence[Service],
    states: Mapping[tuple[str, str], ServerState],
    runtime: PurePath,
    user: str = "",
) -> str:
    """Return the text of haproxy.cfg for these services, with servers as they stand.

    runtime: where HAProxy is to listen for commands.  user: whom it is to run as; empty: as who starts it.
    """
    lines = [
        "# Written by dsrlb from its own configuration: change that, this is written anew.",
        "",
        *_global(runtime, user),
        "",
        *_defaults(),
    ]
    for service in services:
        lines += ["", *_frontend(service), "", *_backend(service, states)]
    return "\n".join(lines) + "\n"


def states(
    services: Sequence[Service], compiled: Mapping[bytes, CompiledService]
) -> dict[tuple[str, str], ServerState]:
    """Return how each server is to stand, by the names of its proxy and its own in the configuration."""
    found: dict[tuple[str, str], ServerState] = {}
    for service in services:
        as_it_is = compiled[key_of(service)]
        shares = dict(zip(as_it_is.by_key, as_it_is.shares, strict=True))
        most = max(*shares.values(), 1)
        for names, backend in named(service):
            target, share = as_it_is.by_key.get(names[1]), shares.get(names[1], 0)
            # None that is above 0 becomes 0.
            state = ServerState(-(-share * MOST_WEIGHT // most), target is not None and target.up)
            found[proxy_name(service), server_name(backend)] = state
    return found


def changes(
    before: Mapping[tuple[str, str], ServerState], now: Mapping[tuple[str, str], ServerState]
) -> Iterator[str]:
    """Yield the commands of the runtime API that turn what holds into what is to hold."""
    for (proxy, server), state in now.items():
        old = before.get((proxy, server))
        if old is None or old.weight != state.weight:
            yield f"set server {proxy}/{server} weight {state.weight}"
        if old is None or old.is_in_use != state.is_in_use:
            yield f"set server {proxy}/{server} state {'ready' if state.is_in_use else 'maint'}"


def proxy_name(service: Service) -> str:
    """Return what a service is called in the configuration."""
    return service.label or f"{service.vip}:{service.port}"


def server_name(backend: Backend) -> str:
    """Return what a server is called in the configuration."""
    return backend.label or (f"{backend.address}:{backend.port}" if backend.port else str(backend.address))


def _global(runtime: PurePath, user: str) -> Iterator[str]:
    yield "global"
    yield f"    stats socket {runtime} mode 600 level admin expose-fd listeners"
    yield "    hard-stop-after 60s   # connections of before a reload are cut then"
    if user:
        yield f"    user {user}"
    yield f"    ssl-default-bind-ciphers {CIPHERS}"
    yield f"    ssl-default-bind-ciphersuites {CIPHERSUITES}"
    yield "    ssl-default-bind-options ssl-min-ver TLSv1.2 no-tls-tickets"


def _defaults() -> Iterator[str]:
    yield "defaults"
    yield "    retries 3"
    yield "    option redispatch 1   # another server, when one does not take a connection"
    yield "    option dontlognull"


def _frontend(service: Service) -> Iterator[str]:
    options = _options(service)
    yield f"frontend {proxy_name(service)}"
    yield f"    mode {_mode(options)}"
    yield f"    bind {_place(service.vip, service.port)}{_bind_words(options)}"
    yield f"    timeout client {_ms(options.idle_timeout_s)}"
    if options.layer == 7:
        yield "    option forwardfor"
        yield "    timeout http-request 10s   # a client that sends its request slowly"
        yield "    timeout http-keep-alive 60s"
    yield f"    default_backend {proxy_name(service)}"


def _bind_words(options: ProxyOptions) -> str:
    words = " accept-proxy" if options.accept_proxy else ""
    if options.certificates:
        words += " ssl " + " ".join(f"crt {path}" for path in options.certificates)
        words += " alpn h2,http/1.1" if options.layer == 7 else ""
    return words


def _backend(service: Service, states: Mapping[tuple[str, str], ServerState]) -> Iterator[str]:
    options = _options(service)
    yield f"backend {proxy_name(service)}"
    yield f"    mode {_mode(options)}"
    yield f"    balance {BALANCE[service.scheduler]}"
    if BALANCE[service.scheduler] == "source":
        yield "    hash-type consistent"
    yield f"    timeout connect {_ms(options.connect_timeout_s)}"
    yield f"    timeout server {_ms(options.idle_timeout_s)}"
    if options.layer == 7:
        yield "    retry-on conn-failure empty-response response-timeout"
        yield "    http-request disable-l7-retry unless METH_GET || METH_HEAD   # may have been done"
    for backend in service.backends:
        state = states[proxy_name(service), server_name(backend)]
        proxy_header = {"off": "", "v1": " send-proxy", "v2": " send-proxy-v2"}[options.send_proxy]
        place = _place(backend.address, backend.port or service.port)
        disabled = "" if state.is_in_use else " disabled"
        yield f"    server {server_name(backend)} {place} weight {state.weight}{proxy_header}{disabled}"


def _options(service: Service) -> ProxyOptions:
    return service.proxy or ProxyOptions()


def _mode(options: ProxyOptions) -> str:
    return "http" if options.layer == 7 else "tcp"


def _place(address: Address, port: int) -> str:
    return f"ipv{address.version}@{address}:{port}"


def _ms(seconds: float) -> str:
    return f"{round(seconds * 1000)}ms"

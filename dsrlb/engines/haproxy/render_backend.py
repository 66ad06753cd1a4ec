"""Where the servers are: the ``backend`` sections of a configuration of HAProxy, one for each group."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b

from dsrlb.engines.haproxy import render_limits, render_tls
from dsrlb.engines.haproxy.names import milliseconds, place, proxy_name, server_name
from dsrlb.engines.haproxy.states import States
from dsrlb.model import Backend, Service
from dsrlb.proxying import DEFAULT_GROUP, ProxyOptions

BALANCE = {
    "rr": "roundrobin",
    "wrr": "roundrobin",
    "response": "roundrobin",
    "lc": "leastconn",
    "wlc": "leastconn",
    "hash": "source",
    "maglev": "source",
}
ANY = {4: "0.0.0.0", 6: "[::]"}  # noqa: S104  (nobody listens there: the client's address takes its place)
SAFE = ("METH_GET", "METH_OPTIONS", "METH_TRACE")  # RFC 9110, section 9.2.1; HAProxy's METH_GET is HEAD too


def backend(service: Service, group: str, options: ProxyOptions, states: States) -> Iterator[str]:
    """Yield the section of the servers of one group."""
    yield f"backend {proxy_name(service, group)}"
    yield f"    mode {'http' if options.layer == 7 else 'tcp'}"
    yield f"    balance {BALANCE[service.scheduler]}"
    if BALANCE[service.scheduler] == "source":
        yield "    hash-type consistent"
    yield f"    timeout connect {milliseconds(options.connect_timeout_s)}"
    yield f"    timeout server {milliseconds(options.idle_timeout_s)}"
    yield f"    retries {options.retries}"
    if options.transparent:
        yield f"    source {ANY[service.vip.version]} usesrc clientip   # transparent"
    if any(one.max_connections for one in service.backends if group in one.groups):
        yield from render_limits.queue_lines(options)
    if service.on_all_down == "drop":
        rule = "http-request" if options.layer == 7 else "tcp-request content"
        yield f"    {rule} silent-drop if {{ nbsrv eq 0 }}   # on_all_down"
    if options.layer == 7:
        yield from _requests(group, options)
    for one in service.backends:
        if group in one.groups:
            yield _server(proxy_name(service, group), service, one, options, states)


def _requests(group: str, options: ProxyOptions) -> Iterator[str]:
    """Yield how requests are dealt with, and what comes back."""
    yield f"    timeout tunnel {milliseconds(options.tunnel_timeout_s)}   # a WebSocket"
    if options.retries:  # HAProxy keeps a copy of each request for that, which is a tenth of its work
        yield "    retry-on conn-failure empty-response response-timeout"
        yield f"    http-request disable-l7-retry unless {' || '.join(SAFE)}   # it may have been done"
    if options.sticky:
        secure = " secure" if options.certificates else ""
        # A client has a server in each group, so each has a cookie.
        name = options.sticky if group == DEFAULT_GROUP else f"{options.sticky}-{group}"
        yield f"    cookie {name} insert indirect nocache httponly{secure} attr SameSite=Lax"


def _server(proxy: str, service: Service, one: Backend, options: ProxyOptions, states: States) -> str:
    name = server_name(one)
    state = states[proxy, name]
    words = f"    server {name} {place(one.address, one.port or service.port)} weight {state.weight}"
    words += f" maxconn {one.max_connections}" if one.max_connections else ""
    words += {"off": "", "v1": " send-proxy", "v2": " send-proxy-v2"}[options.send_proxy]
    words += render_tls.server_words(options)
    if options.layer == 7 and options.sticky:
        words += f" cookie {_cookie(proxy, name)}"
    return words + ("" if state.is_in_use else " disabled")


def _cookie(proxy: str, server: str) -> str:
    """Return what stands for a server in a cookie: the same after every start, and it tells no address."""
    return blake2b(f"{proxy}/{server}".encode(), digest_size=8).hexdigest()

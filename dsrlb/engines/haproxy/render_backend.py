"""Where the servers are: the ``backend`` sections of a configuration of HAProxy, one for each group."""

from __future__ import annotations

from collections.abc import Iterator

from dsrlb.engines.haproxy.names import milliseconds, place, proxy_name, server_name
from dsrlb.engines.haproxy.states import States
from dsrlb.model import Backend, ProxyOptions, Service

BALANCE = {
    "rr": "roundrobin",
    "wrr": "roundrobin",
    "response": "roundrobin",
    "lc": "leastconn",
    "wlc": "leastconn",
    "hash": "source",
    "maglev": "source",
}


def backend(service: Service, group: str, options: ProxyOptions, states: States) -> Iterator[str]:
    """Yield the section of the servers of one group; the default group is without a name."""
    yield f"backend {proxy_name(service, group)}"
    yield f"    mode {'http' if options.layer == 7 else 'tcp'}"
    yield f"    balance {BALANCE[service.scheduler]}"
    if BALANCE[service.scheduler] == "source":
        yield "    hash-type consistent"
    yield f"    timeout connect {milliseconds(options.connect_timeout_s)}"
    yield f"    timeout server {milliseconds(options.idle_timeout_s)}"
    if options.layer == 7:
        yield "    retry-on conn-failure empty-response response-timeout"
        yield "    http-request disable-l7-retry unless METH_GET || METH_HEAD   # may have been done"
    for one in service.backends:
        if one.group == group:
            yield _server(service, one, options, states)


def _server(service: Service, one: Backend, options: ProxyOptions, states: States) -> str:
    state = states[proxy_name(service, one.group), server_name(one)]
    at = place(one.address, one.port or service.port)
    proxy_header = {"off": "", "v1": " send-proxy", "v2": " send-proxy-v2"}[options.send_proxy]
    disabled = "" if state.is_in_use else " disabled"
    return f"    server {server_name(one)} {at} weight {state.weight}{proxy_header}{disabled}"

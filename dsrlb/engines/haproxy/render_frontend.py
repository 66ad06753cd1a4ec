"""Where clients come in: the ``frontend`` sections of a configuration of HAProxy."""

from __future__ import annotations

from collections.abc import Iterator

from dsrlb.engines.haproxy import render_tls
from dsrlb.engines.haproxy.names import milliseconds, place, proxy_name
from dsrlb.model import ProxyOptions, Service


def frontend(service: Service, options: ProxyOptions) -> Iterator[str]:
    """Yield the section of a service."""
    yield f"frontend {proxy_name(service)}"
    yield f"    mode {'http' if options.layer == 7 else 'tcp'}"
    yield f"    bind {place(service.vip, service.port)}{_bind_words(options)}"
    yield f"    timeout client {milliseconds(options.idle_timeout_s)}"
    if options.layer == 7:
        yield "    option forwardfor"
        yield "    timeout http-request 10s   # a client that sends its request slowly"
        yield "    timeout http-keep-alive 60s"
    yield f"    default_backend {proxy_name(service)}"


def _bind_words(options: ProxyOptions) -> str:
    return (" accept-proxy" if options.accept_proxy else "") + render_tls.bind_words(options)

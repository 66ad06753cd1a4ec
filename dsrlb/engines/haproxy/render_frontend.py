"""Where clients come in: the ``frontend`` sections of a configuration of HAProxy."""

from __future__ import annotations

from collections.abc import Iterator

from dsrlb.engines.haproxy import render_headers, render_limits, render_routes, render_tls
from dsrlb.engines.haproxy.names import milliseconds, place, proxy_name
from dsrlb.model import Service
from dsrlb.proxying import DEFAULT_GROUP, ProxyOptions


def frontend(service: Service, options: ProxyOptions, https_port: int) -> Iterator[str]:
    """Yield the section of a service; https_port: where clients are sent that are to come by https."""
    yield f"frontend {proxy_name(service)}"
    yield f"    mode {'http' if options.layer == 7 else 'tcp'}"
    yield f"    bind {place(service.vip, service.port)}{_bind_words(options)}"
    yield f"    timeout client {milliseconds(options.idle_timeout_s)}"
    if options.layer == 7:
        yield "    timeout http-keep-alive 60s"
    yield from render_limits.frontend_lines(service, options)
    if options.layer == 7:
        yield from _requests(service, options, https_port)
    if any(DEFAULT_GROUP in one.groups for one in service.backends):
        yield f"    default_backend {proxy_name(service)}"


def _requests(service: Service, options: ProxyOptions, https_port: int) -> Iterator[str]:
    """Yield what becomes of requests."""
    if options.redirect:
        yield from render_routes.redirect_lines(options.redirect, https_port)
        return
    yield from render_headers.header_lines(options)
    yield from render_routes.route_lines(service, options)


def _bind_words(options: ProxyOptions) -> str:
    return (" accept-proxy" if options.accept_proxy else "") + render_tls.bind_words(options)

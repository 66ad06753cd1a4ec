"""Which request goes to which group of servers: conditions in the frontend, and where a redirect ends.

A route is a line ``use_backend``, and the first that fits wins.  So a redirect is one too, to a section of
its own that answers; as a rule of the frontend it would come before every route::

    use_backend web::api         if route1_path      ──► backend web::api          server …
    use_backend web::redirect:2  if route2_host      ──► backend web::redirect:2   http-request redirect …
    default_backend web                              ──► backend web               server …

*Source*: HAProxy 2.6 configuration manual, sections 4.2 (use_backend, http-request redirect), 7.1 (ACLs),
7.3.6 (samples of HTTP); RFC 9110, section 15.4 (redirects).
"""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

from dsrlb.engines.haproxy.names import proxy_name, quoted
from dsrlb.model import Service
from dsrlb.proxying import ProxyOptions, Route

HTTPS_PORT = 443


def route_lines(service: Service, options: ProxyOptions) -> Iterator[str]:
    """Yield the routes of a service, for its frontend."""
    for number, route in enumerate(options.routes, 1):
        yield f"    # route {number}: {_person(route)}"
        conditions = dict(_conditions(route, f"route{number}"))
        for name, lines in conditions.items():
            yield from (f"    acl {name} {line}" for line in lines)
        condition = f" if {' '.join(conditions)}" if conditions else ""
        yield f"    use_backend {_end(service, number, route)}{condition}"


def redirect_backends(service: Service, options: ProxyOptions, https_port: int) -> Iterator[str]:
    """Yield the sections that answer what a route redirects."""
    for number, route in enumerate(options.routes, 1):
        if route.redirect:
            yield ""
            yield f"backend {_end(service, number, route)}"
            yield "    mode http"
            yield from redirect_lines(route.redirect, https_port)


def redirect_lines(redirect: str, https_port: int = HTTPS_PORT) -> Iterator[str]:
    """Yield what answers every request by a redirect: for good, and with its method kept.

    301 is what the oldest clients know; those may turn a POST into a GET by it, so that others get 308.
    """
    if redirect == "https":
        port = "" if https_port == HTTPS_PORT else f":{https_port}"
        target = f"https://%[req.hdr(host),host_only]{port}%[pathq]"
        yield "    http-request deny deny_status 400 unless { req.hdr(host) -m found }"
    else:
        parts = urlsplit(redirect)
        target = redirect.replace("%", "%%")  # elsewhere it begins a variable
        if not parts.query and not parts.fragment and parts.path in ("", "/"):
            target = target.rstrip("/") + "%[pathq]"
    yield f"    http-request redirect location {quoted(target)} code 301 if METH_GET"
    yield f"    http-request redirect location {quoted(target)} code 308"


def _end(service: Service, number: int, route: Route) -> str:
    return proxy_name(service, f"redirect:{number}" if route.redirect else route.group)


def _conditions(route: Route, name: str) -> Iterator[tuple[str, list[str]]]:
    """Yield what a request has to be, by the names of the conditions: one of the lines of each."""
    if route.hosts:
        yield f"{name}_host", [_host(one) for one in route.hosts]
    if route.paths and "/" not in route.paths:
        yield f"{name}_path", [line for one in route.paths for line in _path(one)]
    if route.pattern:
        yield f"{name}_pattern", [f"path -m reg -- {quoted(route.pattern)}"]
    if route.header:
        yield f"{name}_header", [_header(*route.header)]
    if route.methods:
        yield f"{name}_method", [f"method {' '.join(route.methods)}"]


def _host(host: str) -> str:
    how, what = ("end", host[1:]) if host.startswith("*.") else ("str", host)
    return f"req.hdr(host),host_only -m {how} -i -- {quoted(what)}"


def _path(path: str) -> tuple[str, str]:
    return f"path -m str -- {quoted(path)}", f"path -m beg -- {quoted(path + '/')}"


def _header(name: str, value: str) -> str:
    if not value:
        return f"req.hdr({name}) -m found"
    sample = "req.fhdr" if "," in value else "req.hdr"  # the latter takes a list apart at its commas
    return f"{sample}({name}) -m str -- {quoted(value)}"


def _person(route: Route) -> str:
    """Return a route in words, for a comment."""
    words = [("host", ", ".join(route.hosts)), ("path", ", ".join(route.paths)), ("pattern", route.pattern)]
    if route.header:
        words.append(("header", ": ".join(filter(None, route.header))))
    words.append(("method", ", ".join(route.methods)))
    said = "; ".join(f"{name} {value}" for name, value in words if value) or "everything"
    return f"{said} -> {f'redirect {route.redirect}' if route.redirect else f'group {route.group}'}"

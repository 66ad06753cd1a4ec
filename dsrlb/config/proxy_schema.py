"""The keys of mode proxy, as data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dsrlb.config.keys import FLAG, Key, Kind, Table, WrongType, number, one_of, seconds, text
from dsrlb.config.proxy_words import (
    parse_cookie,
    parse_file,
    parse_method,
    parse_pattern,
    parse_redirect,
    parse_route_header,
    parse_route_host,
    parse_route_path,
    parse_server_name,
)
from dsrlb.config.words import parse_name
from dsrlb.proxying import NO_PROXY

MOST_OF_A_LIST = 16


def _layer(value: Any) -> int:
    if isinstance(value, bool) or value not in (4, 7):
        raise WrongType
    return int(value)


def several(words: str, example: str, parse: Callable[[str], str]) -> Kind:
    """Return the kind of a text or a list of texts, each once."""

    def read(value: Any) -> tuple[str, ...]:
        several = value if isinstance(value, list) else [value]
        if not 0 < len(several) <= MOST_OF_A_LIST or not all(isinstance(one, str) for one in several):
            raise WrongType
        return tuple(dict.fromkeys(map(parse, several)))

    return Kind(f"{words}, or a list of up to {MOST_OF_A_LIST}", example, read)


_FILE = text("an absolute path", "/etc/dsrlb/ca.pem", parse_file)

PROXY = Table(
    "[service.proxy]",
    (
        Key(
            "layer",
            Kind("4 or 7", "7", _layer),
            "Balance connections (4) or HTTP requests (7).",
            str(NO_PROXY.layer),
        ),
        Key("accept_proxy", FLAG, "Clients begin with a PROXY header, which tells their address.", "false"),
        Key(
            "send_proxy",
            one_of(("off", "v1", "v2")),
            "Servers are told clients' addresses by a PROXY header of that version.",
            NO_PROXY.send_proxy,
        ),
        Key(
            "transparent",
            FLAG,
            "Servers see clients' own addresses as the source of connections; this host has to be their "
            "gateway.",
            "false",
        ),
        Key("connect_timeout", seconds(0.05, 600, "5"), "Seconds for a connection to a server.", "5"),
        Key("idle_timeout", seconds(1, 86_400, "60"), "Seconds of silence that end a connection.", "60"),
        Key(
            "tunnel_timeout",
            seconds(1, 604_800, "3600"),
            "`layer = 7`: the same for a WebSocket.",
            f"{NO_PROXY.tunnel_timeout_s:g}",
        ),
        Key(
            "certificates",
            several("an absolute path", '"/etc/dsrlb/www.pem"', parse_file),
            "Clients speak TLS: PEM files with certificate, chain and key, or directories of such; which one "
            "is told by SNI.",
            "no TLS",
        ),
        Key(
            "client_ca",
            _FILE,
            "Clients show a certificate, signed by one of this PEM file.",
            "they do not",
        ),
        Key(
            "client_certificate",
            one_of(("required", "optional")),
            "With `client_ca`: whether a client without one is let in.",
            NO_PROXY.client_certificate,
        ),
        Key("server_tls", FLAG, "Servers speak TLS.", "false"),
        Key(
            "server_ca",
            _FILE,
            "With `server_tls`: servers' certificates are to be signed by one of this PEM file.",
            "they are not verified",
        ),
        Key(
            "server_name",
            text("a text", "app.internal", parse_server_name),
            "With `server_tls`: the name that is asked for by SNI, and with `server_ca` required of the "
            "certificate.",
            "none; any certificate of `server_ca`",
        ),
        Key(
            "server_protocol",
            one_of(("http/1.1", "h2")),
            "`layer = 7`: what servers speak; `h2` for gRPC.",
            NO_PROXY.server_protocol,
        ),
        Key(
            "forwarded",
            one_of(("x-forwarded-for", "forwarded", "both", "off")),
            "`layer = 7`: how servers are told the client's address and protocol: X-Forwarded-For and "
            "-Proto, Forwarded (RFC 7239), both, or not.",
            NO_PROXY.forwarded,
        ),
        Key(
            "trust_forwarded",
            FLAG,
            "`layer = 7`: what clients say of that themselves is kept, since they are proxies of yours.",
            "false",
        ),
        Key(
            "sticky",
            text("a text", "SERVER", parse_cookie),
            "`layer = 7`: a cookie of this name brings a client back to its server.",
            "off",
        ),
        Key(
            "retries",
            number(0, 10, 3),
            "How often a connection to a server, or a request that is safe (GET, HEAD, OPTIONS, TRACE), is "
            "tried again.",
            str(NO_PROXY.retries),
        ),
        Key(
            "redirect",
            text("a text", "https", parse_redirect),
            "`layer = 7`: every request is redirected; as a route's. The service needs no server then.",
            "none is",
        ),
    ),
)

ROUTE = Table(
    "[[service.route]]",
    (
        Key(
            "host",
            several("a text", '"www.example.com"', parse_route_host),
            "The host that is asked for; `*.example.com` for every name below. Its port does not matter.",
            "any",
        ),
        Key(
            "path",
            several("a text", '"/api"', parse_route_path),
            "What the path begins with, by whole segments: `/api` is `/api` and `/api/x`, not `/apis`.",
            "any",
        ),
        Key(
            "pattern",
            text("a text", "\\\\.(png|css)$", parse_pattern),
            "A regular expression that is found in the path.",
            "any",
        ),
        Key(
            "header",
            text('"Name", or "Name: value"', "X-Beta: yes", parse_route_header),
            "A header field that the request has.",
            "any",
        ),
        Key("method", several("a text", '["GET", "HEAD"]', parse_method), "The request's method.", "any"),
        Key(
            "group",
            text("a text", "api", parse_name),
            "The servers that get these requests: those in this group. `default` has those without one.",
        ),
        Key(
            "redirect",
            text('"https", or a URL', "https", parse_redirect),
            "In place of `group`: the client is sent there; `https` is the same URL by https, a URL without "
            "a path keeps that of the request.",
        ),
    ),
    is_array=True,
)

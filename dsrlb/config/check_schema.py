"""The keys of a check, as data."""

from __future__ import annotations

from typing import Any

from dsrlb import health
from dsrlb.config.check_words import (
    parse_bytes,
    parse_headers,
    parse_host,
    parse_path,
    parse_query,
    parse_statuses,
)
from dsrlb.config.keys import FLAG, PORT, Key, Kind, Table, WrongType, number, one_of, seconds, text
from dsrlb.health.dns import RCODES, TYPES
from dsrlb.model import Check


def _words(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not value or not all(isinstance(one, str) for one in value):
        raise WrongType
    if not value[0] or any("\0" in one for one in value):
        raise WrongType
    return tuple(value)


def _statuses(value: Any) -> Any:
    several = value if isinstance(value, list) and value else [value]
    if any(isinstance(one, bool) or not isinstance(one, int | str) for one in several):
        raise WrongType
    return tuple(parse_statuses(",".join(map(str, several))))


def _headers(value: Any) -> Any:
    if not isinstance(value, dict) or not all(isinstance(one, str) for one in value.values()):
        raise WrongType
    return parse_headers(value)


_CHECK = Check("tcp")

CHECK = Table(
    "[service.check]",
    (
        Key("kind", one_of(kind.name for kind in health.KINDS), "What is asked.", is_needed=True),
        Key("interval", seconds(0.1, 3600, "1"), "Seconds from check to check.", f"{_CHECK.interval_s:g}"),
        Key(
            "timeout",
            seconds(0.01, 3600, "0.5"),
            "Seconds after which no answer is a failure; no longer than `interval`.",
            "half of `interval`",
        ),
        Key("rise", number(1, 100, 2), "So many passed checks in a row: up.", str(_CHECK.rise)),
        Key("fall", number(1, 100, 3), "So many failed checks in a row: down.", str(_CHECK.fall)),
        Key(
            "fast_interval",
            seconds(0.05, 3600, "0.25"),
            "Seconds from check to check while the last ones disagree with what holds.",
            "a quarter of `interval`",
        ),
        Key(
            "jitter",
            seconds(0, 0.5, "0.1"),
            "A check is up to this part of `interval` early, by chance.",
            f"{_CHECK.jitter:g}",
        ),
        Key("port", PORT, "Where to ask.", "the server's"),
        Key(
            "direct",
            FLAG,
            "Ask at the server's own address, not at the VIP by the path of the traffic.",
            "false; `inline`, `command`: always so",
        ),
        Key(
            "send",
            text("a text", "PING\\r\\n", parse_bytes),
            "`tcp`, `udp`: what to send; `hex:` begins bytes in hexadecimal digits.",
            "nothing; `udp`: an empty datagram",
        ),
        Key(
            "expect",
            text("a text", "+PONG", parse_bytes),
            "`tcp`, `udp`: what stands in the answer.",
            "`tcp`: no answer is awaited; `udp`: any",
        ),
        Key("path", text("a text", "/health", parse_path), "`http`, `https`: what to get.", "`/`"),
        Key(
            "host",
            text("a text", "www.example.com", parse_host),
            "`http`, `https`: the host that is asked for.",
            "the VIP",
        ),
        Key(
            "headers",
            Kind("a table of texts", '{ X-Check = "yes" }', _headers),
            "`http`, `https`: more header fields, or others in place of dsrlb's own.",
        ),
        Key(
            "status",
            Kind('a status, or "from-to", or a list of these', '["200-299", 401]', _statuses),
            "`http`, `https`: the statuses that are right.",
            "200-299",
        ),
        Key("body", text("a text", "OK", str), "`http`, `https`: what stands in the body.", "anything does"),
        Key(
            "sni",
            text("a text", "www.example.com", parse_host),
            "`https`: the name that is asked for in TLS.",
            "`host`, if it is a name",
        ),
        Key(
            "verify",
            FLAG,
            "`https`: the certificate must be valid, for `sni`, `host` or the VIP, and by an authority that "
            "this host trusts.",
            "false",
        ),
        Key("query", text("a text", "example.com", parse_query), "`dns`: the name to ask for."),
        Key("query_type", one_of(TYPES), "`dns`: the type to ask for.", _CHECK.query_type),
        Key("rcode", one_of(RCODES), "`dns`: the response code that is right.", _CHECK.rcode),
        Key(
            "command",
            Kind("a list of texts", '["/usr/local/bin/check", "{address}", "{port}"]', _words),
            "`command`: program and arguments, run without a shell; `{address}`, `{port}` and `{vip}` are "
            "replaced.",
        ),
    ),
)

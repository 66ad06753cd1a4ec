"""The keys of the limits of mode proxy, as data."""

from __future__ import annotations

import re
from ipaddress import ip_address, ip_network
from typing import Any

from dsrlb.config.keys import FLAG, Key, Kind, Table, WrongType, number, one_of, seconds, text
from dsrlb.errors import UsageError
from dsrlb.proxying import NO_LIMITS, Network, Rate

MOST_NETWORKS = 1000
MOST_IN_A_PERIOD, LONGEST_PERIOD_S = 1_000_000, 86_400
MOST_BODY_BYTES = 1 << 40
HEAD_BYTES = 15_360  # of which HAProxy takes more in no case: its buffer, and what it leaves free there

_RATE = re.compile(r"([0-9]{1,7})/([0-9]{1,5})")


def parse_rate(text: str) -> Rate:
    """Return how many, in how many seconds."""
    found = _RATE.fullmatch(text)
    most, period_s = (int(found[1]), int(found[2])) if found else (0, 0)
    if not (0 < most <= MOST_IN_A_PERIOD and 0 < period_s <= LONGEST_PERIOD_S):
        raise UsageError(
            f"rate {text[:80]!r} is not a number and seconds, such as 100/10; write 1 to {MOST_IN_A_PERIOD}, "
            f"in 1 to {LONGEST_PERIOD_S}"
        )
    return Rate(most, period_s)


def parse_network(text: str) -> Network:
    """Return a network, or an address as one of its own."""
    try:
        network = ip_network(text, strict=False)
    except ValueError:
        raise UsageError(
            f"network {text[:80]!r} is none; write 198.18.0.0/16, 2001:db8::/32, or an address"
        ) from None
    if ip_address(text.partition("/")[0]) != network.network_address:
        raise UsageError(f"network {text[:80]!r} begins elsewhere; write {network}")
    return network


def _networks(value: Any) -> tuple[Network, ...]:
    if not isinstance(value, list) or len(value) > MOST_NETWORKS:
        raise WrongType
    if not all(isinstance(one, str) for one in value):
        raise WrongType
    return tuple(dict.fromkeys(map(parse_network, value)))


_RATE_KIND = text("a number/seconds", "100/10", parse_rate)
_NETWORKS = Kind(f"a list of up to {MOST_NETWORKS} networks", '["198.18.0.0/16"]', _networks)

LIMITS = Table(
    "[service.limits]",
    (
        Key(
            "requests",
            _RATE_KIND,
            "`layer = 7`: so many requests of a client in so many seconds.",
            "no limit",
        ),
        Key(
            "new_connections",
            _RATE_KIND,
            "So many new connections of a client in so many seconds.",
            "no limit",
        ),
        Key("connections", number(1, 1_000_000, 100), "So many connections of a client at once.", "no limit"),
        Key("prefix4", number(1, 32, 24), "How many bits of an IPv4 address are a client.", "32"),
        Key("prefix6", number(1, 128, 56), "How many bits of an IPv6 address are a client.", "64"),
        Key(
            "header_timeout",
            seconds(0.1, 600, "5"),
            "`layer = 7`: seconds in which the head of a request is to come, whole.",
            f"{NO_LIMITS.header_timeout_s:g}",
        ),
        Key(
            "body_timeout",
            seconds(0.1, 600, "10"),
            "`layer = 7`: seconds for the body then, or its first 15 KiB; a server gets the request after "
            "that.",
            "bodies are passed on as they come",
        ),
        Key(
            "max_body",
            number(1, MOST_BODY_BYTES, 1_048_576),
            "`layer = 7`: bytes of a request's body; more is refused (413), and so is a body that does not "
            "say its length (411).",
            "no limit",
        ),
        Key(
            "max_headers",
            number(256, HEAD_BYTES, 8192),
            "`layer = 7`: bytes of a request's URL and header fields; more is refused (431).",
            f"{HEAD_BYTES}, of the whole head",
        ),
        Key("allow", _NETWORKS, "Clients that no limit is about, nor `deny`.", "none"),
        Key("deny", _NETWORKS, "Clients that are refused.", "none"),
        Key(
            "answer",
            one_of(("429", "deny", "tarpit", "drop")),
            "What who is over a limit gets: `429` with Retry-After, `deny` (403), `tarpit` (the answer after "
            "10 s), `drop` (none, and the client is not told that the connection is over). Connections over "
            "a limit are closed at once, with `drop` silently; `layer = 4` has `deny` and `drop`.",
            "429; `layer = 4`: deny",
        ),
        Key("shadow", FLAG, "Count what would be refused, and let it pass.", "false"),
        Key(
            "queue",
            number(1, 1_000_000, 1000),
            "How many may wait for servers that have their `max_connections`; more are refused (503).",
            "no limit",
        ),
        Key(
            "queue_timeout",
            seconds(0.05, 600, "5"),
            "Seconds that one waits for such servers; then it is refused (503).",
            f"{NO_LIMITS.queue_timeout_s:g}",
        ),
    ),
)

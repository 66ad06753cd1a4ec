"""What a client may take of a service: rules of its frontend, which count and refuse.

A client is an address, or a network of the prefix that is chosen.  What it has taken stands in one table;
another has a single row, in which refusals are counted, each reason at a place of its own::

    connection ──► track-sc0 client ──► denied? too many? ──► request ──► too many? too large? ──► routes
                        │                      │                                  │
                 NAME::limits:clients          └──── NAME::limits:refused ◄───────┘  sc-inc-gpc(REASON,2)

*Source*: HAProxy 2.6 configuration manual, sections 4.2 (stick-table, tcp-request, http-request), 7.3.3
(samples of stick counters), 7.3.6 (samples of HTTP).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dsrlb.engines.haproxy.names import milliseconds, proxy_name
from dsrlb.engines.haproxy.refusals import REASONS, clients_table, refused_table, requests_table
from dsrlb.model import Service
from dsrlb.proxying import Limits, Network, ProxyOptions

MOST_CLIENTS = "1m"  # rows that are longest unused make room
IN_A_LINE = 16  # HAProxy takes lines of 2 KiB, and of 64 words
TARPIT_S = 10.0
LENGTH_IS_NOT_SAID = (
    "{ req.hdr_cnt(content-length) eq 0 } { req.hdr(transfer-encoding) -m found }",
    "{ req.hdr_cnt(content-length) eq 0 } { req.ver -m beg 2 } { method POST PUT PATCH }",
)


def frontend_lines(service: Service, options: ProxyOptions) -> Iterator[str]:
    """Yield the rules of a frontend, before any other."""
    limits = options.limits
    if options.layer == 7:
        yield f"    timeout http-request {milliseconds(limits.header_timeout_s)}   # a client that is slow"
    if limits.refuses:
        if options.layer == 7 and limits.answer == "tarpit":
            yield f"    timeout tarpit {milliseconds(TARPIT_S)}"
        yield f"    # limits{' (counted only)' if limits.shadow else ''}"
        yield from _networks("limits_allow", limits.allow)
        yield from _networks("limits_deny", limits.deny)
        yield from _Rules(limits, options).connections(service)
        if options.layer == 7:
            yield from _Rules(limits, options).requests(service)
    if options.layer == 7 and limits.body_timeout_s:
        grpc = "{ req.hdr(content-type) -m beg application/grpc }"  # both sides talk at once
        yield f"    http-request wait-for-body time {milliseconds(limits.body_timeout_s)} unless {grpc}"


def _unless(limits: Limits) -> str:
    """Return the end of a condition of every rule: it is not about those that are allowed."""
    return " !limits_allow" if limits.allow else ""


def _networks(name: str, networks: Sequence[Network]) -> Iterator[str]:
    for first in range(0, len(networks), IN_A_LINE):
        yield f"    acl {name} src {' '.join(map(str, networks[first : first + IN_A_LINE]))}"


class _Rules:
    """The rules of one frontend: each counts, and refuses unless it is only to count."""

    def __init__(self, limits: Limits, options: ProxyOptions) -> None:
        self._limits, self._layer, self._trusts = limits, options.layer, options.trust_forwarded
        # Only then is the address known that a PROXY header tells.
        self._first = "tcp-request session" if options.accept_proxy else "tcp-request connection"
        self._unless = _unless(limits)

    def connections(self, service: Service) -> Iterator[str]:
        """Yield the rules for connections."""
        limits, first = self._limits, self._first
        yield f"    {first} track-sc2 str(all) table {refused_table(proxy_name(service))}"
        if limits.counts_clients:
            client = f"src,ipmask({limits.prefix4},{limits.prefix6})"
            yield f"    {first} track-sc0 {client} table {clients_table(proxy_name(service))}"
        silently = "silent-drop" if limits.answer == "drop" else "reject"
        if limits.deny and (self._layer == 4 or limits.answer == "drop"):
            yield from self._rule(first, "limits_deny", "denied", silently)
        if limits.new_connections:
            over = f"{{ sc_conn_rate(0) gt {limits.new_connections.most} }}"
            yield from self._rule(first, over, "too_many_new_connections", silently)
        if limits.connections:
            over = f"{{ sc_conn_cur(0) gt {limits.connections} }}"
            yield from self._rule(first, over, "too_many_connections", silently)

    def requests(self, service: Service) -> Iterator[str]:
        """Yield the rules for requests."""
        limits, request = self._limits, "http-request"
        if limits.deny and limits.answer != "drop":
            yield from self._rule(request, "limits_deny", "denied", self._forbidden())
        if limits.requests:
            if self._trusts:
                yield from self._track_told(requests_table(proxy_name(service)))
            over = f"{{ sc_http_req_rate({int(self._trusts)}) gt {limits.requests.most} }}"
            yield from self._rule(
                request, over, "too_many_requests", self._too_many(limits.requests.period_s)
            )
        if limits.max_headers_bytes:
            yield f"    {request} set-var(req.fields_bytes) req.hdrs,length"
            over = f"{{ url,length,add(req.fields_bytes) gt {limits.max_headers_bytes} }}"
            yield from self._rule(
                request, over, "head_too_large", self._wrong(431, "header fields too large")
            )
        if limits.max_body_bytes:
            over = f"{{ req.body_size gt {limits.max_body_bytes} }}"
            yield from self._rule(request, over, "body_too_large", self._wrong(413, "content too large"))
            for unsaid in LENGTH_IS_NOT_SAID:
                answer = self._wrong(411, "length required")
                yield from self._rule(request, unsaid, "body_of_unknown_length", answer)

    def _track_told(self, table: str) -> Iterator[str]:
        """Yield what finds the client of a request that a proxy of ours has sent: the last one it names."""
        mask = f"ipmask({self._limits.prefix4},{self._limits.prefix6})"
        yield f"    http-request track-sc1 req.hdr_ip(x-forwarded-for,-1),{mask} table {table}"
        # It names none, or what is no address.
        yield f"    http-request track-sc1 src,{mask} table {table} unless {{ sc1_tracked }}"

    def _rule(self, kind: str, condition: str, reason: str, action: str) -> Iterator[str]:
        condition = f"{condition}{self._unless}"
        yield f"    {kind} sc-inc-gpc({REASONS.index(reason)},2) if {condition}   # {reason}"
        if not self._limits.shadow:
            yield f"    {kind} {action} if {condition}"

    def _forbidden(self) -> str:
        return "tarpit deny_status 403" if self._limits.answer == "tarpit" else "deny deny_status 403"

    def _too_many(self, again_after_s: int) -> str:
        match self._limits.answer:
            case "429":
                return _answer(429, "too many requests") + f" hdr Retry-After {again_after_s}"
            case "deny":
                return "deny deny_status 403"
            case "tarpit":
                return "tarpit deny_status 429"
            case _:
                return "silent-drop"

    def _wrong(self, status: int, text: str) -> str:
        return "silent-drop" if self._limits.answer == "drop" else _answer(status, text)


def _answer(status: int, text: str) -> str:
    return f'return status {status} content-type text/plain string "{text}\\n"'


def queue_lines(options: ProxyOptions) -> Iterator[str]:
    """Yield what a section of servers says of those who wait."""
    limits = options.limits
    yield f"    timeout queue {milliseconds(limits.queue_timeout_s)}"
    if not limits.queue:
        return
    yield from _networks("limits_allow", limits.allow)
    over = f"{{ queue ge {limits.queue} }}{_unless(limits)}"
    kind = "http-request" if options.layer == 7 else "tcp-request content"
    yield f"    {kind} sc-inc-gpc({REASONS.index('queue_full')},2) if {over}   # queue_full"
    if not limits.shadow:
        again = f"{_answer(503, 'all servers are busy')} hdr Retry-After {round(limits.queue_timeout_s) or 1}"
        yield f"    {kind} {again if options.layer == 7 else 'reject'} if {over}"


def tables(service: Service, options: ProxyOptions) -> Iterator[str]:
    """Yield the sections of the tables."""
    limits, name = options.limits, proxy_name(service)
    if not limits.refuses:
        return
    yield ""
    yield f"backend {refused_table(name)}   # one row: how often, by reason"
    yield f"    stick-table type string len 4 size 1 store gpc({len(REASONS)})"
    if not limits.counts_clients:
        return
    stored = ["conn_cur"]
    if limits.new_connections:
        stored.append(f"conn_rate({limits.new_connections.period_s}s)")
    if limits.requests and not options.trust_forwarded:
        stored.append(f"http_req_rate({limits.requests.period_s}s)")
    rates = [one.period_s for one in (limits.new_connections, limits.requests) if one]
    yield from _clients(clients_table(name), 2 * max(rates, default=30), ",".join(stored))
    if limits.requests and options.trust_forwarded:
        period_s = limits.requests.period_s
        yield from _clients(requests_table(name), 2 * period_s, f"http_req_rate({period_s}s)")


def _clients(table: str, expire_s: int, stored: str) -> Iterator[str]:
    yield ""
    yield f"backend {table}"
    yield f"    stick-table type ipv6 size {MOST_CLIENTS} expire {expire_s}s store {stored}"

"""What a person may choose about mode proxy, as values: how connections are ended, where requests go."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from typing import Literal

Network = IPv4Network | IPv6Network
DEFAULT_GROUP = "default"  # of servers: it has the requests that fit no route


@dataclass(frozen=True)
class Route:
    """Where requests go that are so in all that is given; of several hosts, paths or methods, in any."""

    hosts: tuple[str, ...] = ()  # lower case; ``*.example.com``: every name below
    paths: tuple[str, ...] = ()  # by whole segments: /api is /api and /api/x, not /apis
    pattern: str = ""  # a regular expression, found in the path
    header: tuple[str, str] | None = None  # name and value; empty: whatever it is
    methods: tuple[str, ...] = ()
    group: str = ""  # of servers; or
    redirect: str = ""  # "https", or a URL: without a path, the request's own is kept


@dataclass(frozen=True)
class Rate:
    """So many, in so many seconds."""

    most: int
    period_s: int


@dataclass(frozen=True)
class Limits:
    """What a client may take of a service, and what becomes of one that takes more; 0: no limit."""

    requests: Rate | None = None
    new_connections: Rate | None = None
    connections: int = 0  # at once
    prefix4: int = 32  # what of an address is a client
    prefix6: int = 64
    header_timeout_s: float = 10.0  # from the beginning of a request to the end of its head
    body_timeout_s: float = 0.0  # and then of its body, or as much of it as is held
    max_body_bytes: int = 0
    max_headers_bytes: int = 0
    allow: tuple[Network, ...] = ()  # none of this is about them
    deny: tuple[Network, ...] = ()
    answer: Literal["429", "deny", "tarpit", "drop"] = "429"
    shadow: bool = False  # count what would be refused, and let it pass
    queue: int = 0  # of those that wait for servers which have all the connections that they are to have
    queue_timeout_s: float = 5.0

    @property
    def counts_clients(self) -> bool:
        """Return whether it has to be known what each client takes."""
        return bool(self.requests or self.new_connections or self.connections)

    @property
    def refuses(self) -> bool:
        """Return whether there is anything to refuse."""
        others = self.max_body_bytes or self.max_headers_bytes or self.deny or self.queue
        return bool(self.counts_clients or others)


NO_LIMITS = Limits()


@dataclass(frozen=True)
class ProxyOptions:
    """What a person may choose about mode proxy; no other mode heeds any of it."""

    layer: Literal[4, 7] = 4  # balance connections, or HTTP requests
    accept_proxy: bool = False  # clients (another balancer) begin with a PROXY header
    send_proxy: Literal["off", "v1", "v2"] = "off"  # servers are told the client's address by one
    transparent: bool = False  # servers see the client's address as that of who connects
    connect_timeout_s: float = 5.0  # to a server
    idle_timeout_s: float = 60.0  # of a connection's either side
    tunnel_timeout_s: float = 3600.0  # of one that is a WebSocket's by now

    # TLS with clients, which begins with certificates, and with servers.
    certificates: tuple[str, ...] = ()  # PEM files, or directories of such
    client_ca: str = ""  # a PEM file: who signs clients' certificates
    client_certificate: Literal["required", "optional"] = "required"  # with client_ca
    server_tls: bool = False
    server_ca: str = ""  # a PEM file: who signs servers' certificates; empty: they are not verified
    server_name: str = ""  # asked for by SNI, and required of the certificate

    # HTTP.
    server_protocol: Literal["http/1.1", "h2"] = "http/1.1"
    forwarded: Literal["x-forwarded-for", "forwarded", "both", "off"] = "x-forwarded-for"
    trust_forwarded: bool = False  # what clients say of themselves is kept
    sticky: str = ""  # the name of a cookie that brings a client back to its server
    retries: int = 3  # of a connection, and of a request that is safe
    redirect: str = ""  # of every request: as a route's
    routes: tuple[Route, ...] = ()  # the first that fits; none: the default group

    limits: Limits = NO_LIMITS


NO_PROXY = ProxyOptions()

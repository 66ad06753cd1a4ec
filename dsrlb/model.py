"""The words of dsrlb as values: services, backends, hops, verdicts, reasons, host steps.

Everything here is immutable and free of I/O.  Addresses on the data path are 16 bytes,
IPv4 as IPv4-mapped IPv6 (RFC 4291, section 2.5.5.2), so one key serves both families.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from ipaddress import IPv4Address, IPv6Address
from types import MappingProxyType
from typing import Literal

from dsrlb.proxying import DEFAULT_GROUP, ProxyOptions

Address = IPv4Address | IPv6Address

V4_MAPPED = bytes(10) + b"\xff\xff"
PROTOCOL_NUMBERS: Mapping[str, int] = MappingProxyType({"tcp": 6, "udp": 17})
ANY_PORT = 0
SAME_PORT = 0  # of a backend: it listens on the service's own port


class Action(IntEnum):
    """What becomes of a frame; names and numbers are XDP's (linux/bpf.h, enum xdp_action)."""

    DROP = 1
    PASS = 2  # leave it to the host
    TX = 3  # send it out of the interface it came in by
    REDIRECT = 4  # send it out of another interface


class Reason(IntEnum):
    """Why a frame met its verdict: the counter's name, the metrics label, the word in the CLI."""

    FORWARDED = 0
    FRAGMENT_FORWARDED = 1
    ICMP_STEERED = 2
    ECHO_REPLY = 3
    ARP_REPLY = 4
    ND_REPLY = 5
    NOT_FOR_US = 6
    NOT_IP = 7
    NOT_VIP = 8
    ARP_OTHER = 9
    ND_OTHER = 10
    VIP_CONFLICT = 11
    TRUNCATED = 12
    MALFORMED = 13
    BAD_CHECKSUM = 14
    MARTIAN_SOURCE = 15
    NO_SERVICE = 16
    PROTOCOL_UNKNOWN = 17
    ICMP_IGNORED = 18
    ICMP_UNMATCHED = 19
    NO_BACKEND = 20
    BACKEND_UNRESOLVED = 21
    FRAGMENT_HELD = 22
    FRAGMENT_EXPIRED = 23
    FRAGMENT_TABLE_FULL = 24
    RECEIVE_RING_FULL = 25
    SEND_TOO_BIG = 26
    SEND_FAILED = 27
    TOO_BIG_ANSWERED = 28
    TOO_BIG_DROPPED = 29
    TUNNEL_ERROR = 30
    TUNNEL_ERROR_TOLD = 31
    NO_DECAPSULATION = 32
    REPLY_FORWARDED = 33
    REPLY_UNMATCHED = 34
    TTL_EXCEEDED = 35
    TTL_DROPPED = 36
    SNAT_EXHAUSTED = 37
    REFUSED = 38
    HANDED_OVER = 39  # by the program in the kernel to the packet engine, which counts it again

    @property
    def word(self) -> str:
        """The reason as the CLI and the metrics spell it."""
        return self.name.lower()


# A number is a counter's place in every engine, so new reasons come at the end.  Reasons of sent frames,
# reasons after which the frame is left to the host; every other one drops.
SENT_REASONS = frozenset(
    (
        *(Reason(number) for number in range(Reason.NOT_FOR_US)),
        Reason.TOO_BIG_ANSWERED,
        Reason.TUNNEL_ERROR_TOLD,
        Reason.REPLY_FORWARDED,
        Reason.TTL_EXCEEDED,
    )
)
PASS_REASONS = frozenset(
    (*(Reason(number) for number in range(Reason.NOT_FOR_US, Reason.TRUNCATED)), Reason.HANDED_OVER)
)


@dataclass(frozen=True)
class Check:
    """How it is found out whether a server of a service is up; a kind ignores what is not its own."""

    kind: Literal["tcp", "http", "https", "udp", "dns", "icmp", "command"]
    interval_s: float = 2.0
    timeout_s: float = 1.0
    rise: int = 2  # so many answers in a row: up
    fall: int = 3  # so many failures in a row: down
    fast_interval_s: float = 0.5  # while the last answers disagree with what holds
    jitter: float = 0.1  # of the interval: up to so much earlier, so that checks do not come all at once
    port: int = SAME_PORT
    send: bytes = b""  # tcp, udp
    expect: bytes = b""  # tcp, udp: stands in the answer
    path: str = "/"  # http, https, and all below
    host: str = ""  # of the request; empty: the VIP
    headers: tuple[tuple[str, str], ...] = ()
    status: tuple[tuple[int, int], ...] = ((200, 299),)  # ranges, ends included
    body: str = ""  # stands in the answer
    sni: str = ""  # https: empty: the host
    verify: bool = False  # https: whether the certificate is to be right
    query: str = ""  # dns: the name asked for
    query_type: str = "A"  # dns
    rcode: str = "NOERROR"  # dns: of the answer
    command: tuple[str, ...] = ()  # program and arguments
    direct: bool = False  # ask at the server's own address, not at the VIP by the path of the traffic


@dataclass(frozen=True)
class Backend:
    """A real server of a service: where it is, how much of the load it takes."""

    address: Address
    weight: int = 1
    mac: bytes | None = None  # given by hand: no neighbour look-up
    port: int = SAME_PORT  # where it listens, in modes that translate ports
    label: str = ""  # what a person calls it
    check: Check | None = None  # None: the service's
    groups: tuple[str, ...] = (DEFAULT_GROUP,)  # mode proxy: that it is in, to which routes lead
    max_connections: int = 0  # mode proxy: at once, the others wait; 0: as many as come


@dataclass(frozen=True)
class ModeOptions:
    """What a person may choose about a mode; a mode ignores what is not its own."""

    encap: Literal["ipip", "gue", "gue1"] = "ipip"  # l3dsr: gue is variant 0 of GUE, gue1 variant 1
    encap_port: int = 6080  # l3dsr with GUE: UDP destination port
    source: Address | None = None  # l3dsr: outer source; inline with snat: the source that servers see
    clamp_mss: bool = False  # l3dsr: lower the MSS that a client's SYN announces to what the tunnel takes
    snat: bool = (
        False  # inline: replace the client's address as well, so that replies come back by themselves
    )


@dataclass(frozen=True)
class Persist:
    """Same client (or client network), same server, as long as it comes back in time."""

    timeout_s: int
    ipv4_prefix: int = 32
    ipv6_prefix: int = 128


@dataclass(frozen=True)
class Timeouts:
    """After how many seconds of silence a flow is forgotten; the defaults are IPVS's."""

    udp_s: int = 300
    syn_s: int = 60
    established_s: int = 900
    fin_s: int = 120
    closed_s: int = 10


@dataclass(frozen=True)
class Service:
    """A VIP, port and protocol, and the backends behind it."""

    vip: Address
    port: int  # ANY_PORT: every port
    protocol: Literal["tcp", "udp"]
    mode: str
    scheduler: str
    backends: tuple[Backend, ...]
    options: ModeOptions = ModeOptions()
    persist: Persist | None = None
    timeouts: Timeouts = Timeouts()
    label: str = ""  # what a person calls it
    check: Check | None = None  # None: every server is taken for up
    # No server can take new flows: send on to those that are down, refuse the client, or drop.
    on_all_down: Literal["keep", "reject", "drop"] = "keep"
    slow_start_s: int = 0  # for so long the share of a server that joins or returns grows
    # Whether a server is left whose clients' handshakes fail, unlike the others'; None: if there is a check.
    passive: bool | None = None
    proxy: ProxyOptions | None = None  # in mode proxy

    @property
    def watches(self) -> bool:
        """Whether servers are left for what clients' handshakes say of them."""
        is_checked = self.check is not None or any(one.check for one in self.backends)
        return self.protocol == "tcp" and (is_checked if self.passive is None else self.passive)

    @property
    def samples(self) -> bool:
        """Whether handshakes are looked at: how long they take, and how many fail."""
        return self.watches or (self.protocol == "tcp" and self.scheduler == "response")

    @property
    def name(self) -> str:
        """The service as a person writes it: ``198.18.0.10:80/tcp``."""
        host = f"[{self.vip}]" if self.vip.version == 6 else str(self.vip)
        port = "*" if self.port == ANY_PORT else self.port
        return f"{host}:{port}/{self.protocol}"


@dataclass(frozen=True)
class Hop:
    """The next hop to a backend: out of which interface, from and to which MAC."""

    ifindex: int
    src_mac: bytes
    dst_mac: bytes
    mtu_bytes: int = 0  # of the way to the backend, as far as this host knows it; 0: not known, no limit
    source: bytes | None = None  # 16 bytes: this host's own address on that way


@dataclass(frozen=True)
class HostStep:
    """One thing a real server needs, as data; ``host/steps.py`` plans, applies, verifies, undoes it.

    ========== ============================ =======================================================
    kind       target                       value
    ========== ============================ =======================================================
    sysctl     dotted key                   the value wanted
    rp_filter  device                       ``2``: check sources loosely there, or not at all
    module     its name                     the device that it brings
    tunnel     device                       ``any``: take IPv4 and IPv6 out of it
    device     its name                     ``up``
    address    device                       address/length, then words for ``ip address add``
    route      ``inet default``,            ``via GATEWAY``, then words for ``ip route replace``
               ``inet6 NETWORK``
    advmss     the same, or a whole route   the MSS to announce there; ``mtu-60``: the MTU less 60
    qdisc      device                       ``clsact``: the hooks for programs
    program    device                       ``decap``, then the UDP port of GUE
    entry      device                       the VIP that the program there is to accept
    ========== ============================ =======================================================
    """

    kind: Literal[
        "sysctl", "rp_filter", "module", "tunnel", "device", "address",
        "route", "advmss", "qdisc", "program", "entry",
    ]  # fmt: skip
    target: str
    value: str
    why: str = field(default="", compare=False)


@dataclass(frozen=True)
class ServerOptions:
    """What a person may choose about a real server's set-up; a mode ignores what is not its own."""

    decap: Literal["kernel", "bpf"] = "kernel"  # l3dsr: who takes the outer header off
    device: str = "eth0"  # l3dsr with bpf: where tunnel packets come in
    outer: tuple[int, ...] = (4, 6)  # l3dsr: IP versions of the tunnels
    encap: Literal["ipip", "gue", "gue1"] = "ipip"  # l3dsr: what the balancer sends
    encap_port: int = 6080  # l3dsr with GUE: UDP destination port
    advmss: str = "auto"  # l3dsr: MSS to announce to clients; "off": leave it
    gateway: Address | None = None  # inline: the balancer
    networks: tuple[str, ...] = ()  # where the clients are; none: everywhere, by the default route


def wire_address(address: Address) -> bytes:
    """Return the 16-byte form of an address, IPv4 mapped."""
    return address.packed if address.version == 6 else V4_MAPPED + address.packed


def person_address(wire: bytes) -> str:
    """Return a 16-byte address as a person writes it."""
    return str(IPv4Address(wire[12:]) if wire[:12] == V4_MAPPED else IPv6Address(wire))


def backend_key(backend: Backend) -> bytes:
    """Return what names a backend in flow records and counters: its 16 bytes, then its port if it has one.

    ::

        0               16      18
        +---------------+-------+
        | address (16)  | port  |      the port only if it is not the service's own
        +---------------+-------+
    """
    port = backend.port.to_bytes(2, "big") if backend.port != SAME_PORT else b""
    return wire_address(backend.address) + port


def person_backend(key: bytes) -> str:
    """Return a backend's key as a person writes it: ``198.18.0.21``, ``198.18.0.21:8080``."""
    host, port = person_address(key[:16]), int.from_bytes(key[16:], "big")
    if port == SAME_PORT:
        return host
    return person_end(host, port)


def person_end(host: str, port: int) -> str:
    """Return an address and a port as a person writes them."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def service_key(address: bytes, port: int, protocol: int) -> bytes:
    """Return the key under which a service is found.

    ::

        0               16      18    19    20
        +---------------+-------+-----+-----+
        | VIP (16)      | port  |proto|  0  |
        +---------------+-------+-----+-----+
    """
    return address + port.to_bytes(2, "big") + bytes((protocol, 0))


def person_mac(mac: bytes) -> str:
    """Return a MAC address as ``02:00:c6:12:01:01``."""
    return mac.hex(":")

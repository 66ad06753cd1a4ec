"""What is measured, by name.

Names are those of the kernel's own benchmark of such programs (``bench xdp-lb``).  That one always wraps
packets, so its names stand for L3 DSR here, and say so where the mode is another.  ``ch``: the slots tell the
backend, no record is looked up (a hash scheduler whose servers stay).  ``lru-hit``: the flow is on record
(round robin).  ``lru-miss``: every packet begins a flow, which is recorded.  With many flows that benchmark
says ``diverse``; here their number stands beside.  Fragments and options are not dropped here, so their names
do not say ``drop``.

*Source*: tools/testing/selftests/bpf/benchs/bench_xdp_lb.c (Linux 7.2).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address

from dsrlb.bench.xdp.frames import LB_MAC, PORT, Kind
from dsrlb.model import Action, Address, Backend, Hop, ModeOptions, Reason, Service, wire_address
from dsrlb.table import ForwardingTable, compile_table
from dsrlb.wire.icmp import ICMP
from dsrlb.wire.l4 import RST, SYN, UDP

IFINDEX = 1  # lo: where BPF_PROG_TEST_RUN says that a frame came in, unless told otherwise
BACKENDS = 100
MTU_BYTES = 1500
VIPS = {4: ip_address("198.19.0.10"), 6: ip_address("2001:db8::10")}
OWN = {4: ip_address("198.19.0.1"), 6: ip_address("2001:db8::1")}
FREE = {4: ip_address("198.19.0.99"), 6: ip_address("2001:db8::99")}  # nobody's
_SERVERS = {4: ip_address("198.19.1.0"), 6: ip_address("2001:db8::1:0")}
ONE, MANY, SOME, ALL = 1, 4096, 65_536, 1 << 20  # numbers of flows


_ACK = Kind()


@dataclass(frozen=True)
class Scenario:
    """One kind of packet, and what the program is to do with it."""

    name: str
    says: str
    kind: Kind = _ACK
    mode: str = "l3dsr"
    scheduler: str = "maglev"
    outside: int = 0  # version of the servers' addresses; 0: the packet's own
    to_vip: bool = True
    recorded: bool = False  # every flow is on record before
    is_new: bool = False  # every packet begins a flow
    reason: Reason = Reason.FORWARDED
    action: Action = Action.TX
    most_flows: int = MANY
    bars: Mapping[int, float] = field(default_factory=dict)  # of net / floor, by flows

    @property
    def vip(self) -> Address:
        """The address that the packets are sent to."""
        return (VIPS if self.to_vip else FREE)[self.kind.version]

    @property
    def is_sent(self) -> bool:
        """Whether a backend gets the packets."""
        return self.reason in (Reason.FORWARDED, Reason.FRAGMENT_FORWARDED)


def table(scenario: Scenario) -> ForwardingTable:
    """Return the forwarding table that a scenario needs: one service, 100 backends."""
    version = scenario.outside or scenario.kind.version
    servers = [_SERVERS[version] + number for number in range(1, BACKENDS + 1)]
    service = Service(
        VIPS[scenario.kind.version],
        PORT,
        "udp" if scenario.kind.protocol == UDP else "tcp",
        scenario.mode,
        scenario.scheduler,
        tuple(Backend(server) for server in servers),
        ModeOptions(source=OWN[version] if scenario.mode == "l3dsr" else None),
    )
    hops = {
        server: Hop(
            IFINDEX, LB_MAC, bytes((2, 0, 0xC6, 0x13, 1, number)), MTU_BYTES, wire_address(OWN[version])
        )
        for number, server in enumerate(servers, start=1)
    }
    return compile_table([service], hops, {IFINDEX: LB_MAC}, {IFINDEX: MTU_BYTES})


_UDP, _SYN, _RST = Kind(protocol=UDP), Kind(tcp_flags=SYN), Kind(tcp_flags=RST)
_SIX, _UDP6 = Kind(version=6), Kind(version=6, protocol=UDP)
_ECHO = Kind(protocol=ICMP)
_PIECE4, _PIECE6 = Kind(is_first_piece=True), Kind(version=6, protocol=UDP, is_first_piece=True)

_STABLE = (
    Scenario(
        "tcp-v4-ch-l2dsr",
        "TCP/IPv4, slots that stay, two MAC addresses written",
        mode="l2dsr",
        most_flows=ALL,
        bars={ONE: 1.0, MANY: 1.1, ALL: 1.5},
    ),
    Scenario(
        "tcp-v4-ch",
        "the same, wrapped in IPv4",
        most_flows=ALL,
        bars={ONE: 1.6, MANY: 1.7, ALL: 2.0},
    ),
    Scenario("tcp-v4-syn-l2dsr", "the same as the first, each packet a SYN", _SYN, mode="l2dsr"),
    Scenario("udp-v4-ch", "UDP/IPv4, wrapped", _UDP),
    Scenario("tcp-v6-ch-l2dsr", "TCP/IPv6", _SIX, mode="l2dsr"),
    Scenario("tcp-v6-ch", "TCP/IPv6 in IPv6", _SIX),
)
_RECORDED = (
    Scenario(
        "tcp-v4-lru-hit-l2dsr",
        "TCP/IPv4, on record, two MAC addresses written",
        mode="l2dsr",
        scheduler="rr",
        recorded=True,
        most_flows=ALL,
        bars={ONE: 1.2, MANY: 1.5, ALL: 2.2},
    ),
    Scenario(
        "tcp-v4-lru-hit",
        "the same, wrapped in IPv4",
        scheduler="rr",
        recorded=True,
        most_flows=ALL,
        bars={ONE: 1.9, MANY: 2.2, ALL: 3.4},
    ),
    Scenario("udp-v4-lru-hit", "UDP/IPv4, wrapped", _UDP, scheduler="rr", recorded=True),
    Scenario("tcp-v4v6-lru-hit", "TCP/IPv4 in IPv6", outside=6, scheduler="rr", recorded=True),
    Scenario("tcp-v6-lru-hit-l2dsr", "TCP/IPv6", _SIX, mode="l2dsr", scheduler="rr", recorded=True),
    Scenario("tcp-v6-lru-hit", "TCP/IPv6 in IPv6", _SIX, scheduler="rr", recorded=True),
    Scenario("udp-v6-lru-hit", "UDP/IPv6 in IPv6", _UDP6, scheduler="rr", recorded=True),
    Scenario("tcp-v4-lru-hit-inline", "TCP/IPv4, translated", mode="inline", scheduler="rr", recorded=True),
)
_NEW = (
    Scenario(
        "tcp-v4-lru-miss-l2dsr", "TCP/IPv4, a flow is recorded", mode="l2dsr", scheduler="rr", is_new=True
    ),
    Scenario("tcp-v4-lru-miss", "the same, wrapped in IPv4", scheduler="rr", is_new=True),
    Scenario("tcp-v4-lru-miss-lc", "the same, least connections", _SYN, scheduler="lc", is_new=True),
    Scenario(
        "tcp-v4-rst-miss", "the same, round robin, each packet a RST", _RST, scheduler="rr", is_new=True
    ),
    Scenario("udp-v4-lru-miss", "UDP/IPv4, a flow is recorded, wrapped", _UDP, scheduler="rr", is_new=True),
    Scenario("tcp-v4-syn", "TCP/IPv4, SYN of a flow on record", _SYN, scheduler="rr", recorded=True),
)
_OTHERS = (
    Scenario(
        "pass-v4-no-vip",
        "TCP/IPv4 to somebody else",
        to_vip=False,
        reason=Reason.NOT_VIP,
        action=Action.PASS,
        bars={ONE: 0.7},
    ),
    Scenario(
        "pass-v6-no-vip",
        "TCP/IPv6 to somebody else",
        _SIX,
        to_vip=False,
        reason=Reason.NOT_VIP,
        action=Action.PASS,
    ),
    Scenario(
        "pass-non-ip",
        "neither IP nor ARP",
        Kind(is_ip=False),
        reason=Reason.NOT_IP,
        action=Action.PASS,
        most_flows=ONE,
    ),
    Scenario("v4-icmp", "echo request, answered", _ECHO, reason=Reason.ECHO_REPLY, most_flows=ONE),
    Scenario("tcp-v4-frag", "first piece of an IPv4 datagram, wrapped", _PIECE4, most_flows=ONE),
    Scenario("tcp-v4-options", "IPv4 options, wrapped", Kind(has_options=True), most_flows=ONE),
    Scenario("udp-v6-frag", "first piece of an IPv6 datagram, wrapped", _PIECE6, most_flows=ONE),
)
SCENARIOS: tuple[Scenario, ...] = (*_STABLE, *_RECORDED, *_NEW, *_OTHERS)
BY_NAME: Mapping[str, Scenario] = {one.name: one for one in SCENARIOS}

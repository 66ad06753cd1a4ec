"""The forwarders that the packet benchmark compares; each does L2 DSR for one VIP and three servers.

Run as a process in the balancer's namespace: it prints ``ready``, forwards until SIGTERM, and prints
how many frames it claims to have forwarded.
"""

from __future__ import annotations

import contextlib
import signal
import socket
import struct
import sys
import traceback
import zlib
from collections.abc import Callable, Mapping

from dsrlb.bench.ground import BACKENDS, LB_DEVICE, LB_MAC, PORT, VIP
from dsrlb.bench.traffic import (
    ETH_P_ALL,
    PACKET_IGNORE_OUTGOING,
    PACKET_QDISC_BYPASS,
    SOL_PACKET,
    stay_on,
)
from dsrlb.wire.l4 import TCP

MACS = tuple(BACKENDS.values())


class _Stopped(Exception):
    """SIGTERM came."""


def _stop(number: int, frame: object) -> None:
    raise _Stopped


def raw() -> int:
    """The floor: one socket, receive, parse, pick by hash, write the MACs, send; no flow table, no counters.

    Without a vnet header, which makes it faster; it would forward frames with unfinished checksums.
    """
    wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    wire.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
    wire.setsockopt(SOL_PACKET, PACKET_QDISC_BYPASS, 1)
    wire.bind((LB_DEVICE, ETH_P_ALL))
    me, vip, starts, sent = LB_MAC, VIP.packed, [mac + LB_MAC for mac in MACS], 0
    # Destination MAC; ethertype with IPv4's first byte; protocol, destination, destination port.
    unpack = struct.Struct("!6s 6x 3s 8x B 6x 4s 2x H").unpack_from
    plain, crc32, receive, send = b"\x08\0\x45", zlib.crc32, wire.recv, wire.send
    _ready()
    try:
        while True:
            frame = receive(2048)
            to, kind, protocol, dst, dport = unpack(frame)
            if to == me and kind == plain and protocol == TCP and dst == vip and dport == PORT:
                send(starts[crc32(frame[26:38]) % 3] + frame[12:])
                sent += 1
    except _Stopped:
        return sent


def scapy() -> int:
    """The naive one: scapy's ``sniff`` on a socket that is kept open and also sends."""
    from scapy.config import conf
    from scapy.layers.inet import IP
    from scapy.layers.inet import TCP as SEGMENT
    from scapy.layers.l2 import Ether
    from scapy.packet import Packet
    from scapy.sendrecv import sniff

    wire = conf.L2socket(iface=LB_DEVICE, promisc=False)
    me, vip, macs = LB_MAC.hex(":"), str(VIP), [mac.hex(":") for mac in MACS]
    sent = 0

    def forward(packet: Packet) -> None:
        nonlocal sent
        if (
            SEGMENT not in packet
            or packet[IP].dst != vip
            or packet[SEGMENT].dport != PORT
            or packet[Ether].dst != me
        ):
            return
        packet[Ether].dst = macs[hash((packet[IP].src, packet[SEGMENT].sport)) % 3]
        packet[Ether].src = me
        wire.send(packet)
        sent += 1

    _ready()
    with contextlib.suppress(_Stopped):
        sniff(opened_socket=wire, prn=forward, store=False)
    return sent


def dsrlb() -> int:
    """The packet engine as ``dsrlb serve`` runs it: Maglev, flow table, all counters."""
    from dsrlb.engines.base import Hears
    from dsrlb.engines.packet import PacketEngine
    from dsrlb.host.links import link
    from dsrlb.model import Address, Backend, Hop, Reason, Service, wire_address
    from dsrlb.table import compile_table

    here = link(LB_DEVICE)
    backends = tuple(Backend(address) for address in BACKENDS)
    service = Service(VIP, PORT, "tcp", "l2dsr", "maglev", backends)
    hops: dict[Address, Hop | None] = {
        address: Hop(here.ifindex, here.mac, mac) for address, mac in BACKENDS.items()
    }
    nobody = Hears(
        conflict=lambda frame, ifindex: None,
        failure=traceback.print_exception,
        refusal=lambda frame: None,
    )
    engine = PacketEngine([here], [wire_address(VIP)], nobody)
    engine.install(compile_table([service], hops, {here.ifindex: here.mac}))
    engine.start()
    _ready()
    with contextlib.suppress(_Stopped):
        signal.pause()
    engine.close()
    return engine.state.reasons[Reason.FORWARDED]


CONTENDERS: Mapping[str, Callable[[], int]] = {"scapy": scapy, "raw": raw, "dsrlb": dsrlb}


def _ready() -> None:
    signal.signal(signal.SIGTERM, _stop)
    print("ready", flush=True)


def main() -> None:
    """Run one contender by name on one core."""
    name, core = sys.argv[1:]
    stay_on(int(core))
    print(CONTENDERS[name](), flush=True)


if __name__ == "__main__":
    main()

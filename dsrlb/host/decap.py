"""The BPF decapsulator on a device: put there, given VIPs, asked for its counters, taken away.

The filter on the device's ingress hook is all that holds the program, and the program holds its
maps: nothing is pinned, no file system is needed, and each network namespace has its own.
``bpf/decap.bpf.c`` says what the program does.
"""

from __future__ import annotations

import errno
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address

from pyroute2 import IPRoute

from dsrlb.bpf.objects import object_path
from dsrlb.errors import HostError
from dsrlb.host import bpf, bpf_attach, bpf_maps
from dsrlb.model import Address, person_address, wire_address

PROGRAM = "dsrlb_decap"
PRIORITY = 49  # before what has no number of its own: tc gives those 49152 and less
HANDLE = 1
GUE_PORT = 6080
COUNTERS = ("decapsulated", "not_vip", "not_local", "fragment", "malformed", "ecn_drop", "failed")
_HOOKS = (0xFFFFFFF2, 0xFFFFFFF3)  # linux/pkt_sched.h: clsact's ingress and egress
_PRESENT = (1).to_bytes(4, sys.byteorder)


def has_hooks(device: str) -> bool:
    """Say whether a device has the hooks that filters are put on (qdisc clsact, or ingress)."""
    with IPRoute() as netlink:
        kinds = [message.get_attr("TCA_KIND") for message in netlink.get_qdiscs(index=_place(device).ifindex)]
    return any(kind in ("clsact", "ingress") for kind in kinds)


def make_hooks(device: str) -> None:
    """Give a device the hooks; it is no error when it has them."""
    bpf_attach.make_clsact(_place(device).ifindex)


def remove_hooks(device: str) -> bool:
    """Take the hooks of a device away, unless somebody's filters are on them; say whether it was done."""
    ifindex = _place(device).ifindex
    with IPRoute() as netlink:
        if any(list(netlink.get_filters(index=ifindex, parent=hook)) for hook in _HOOKS):
            return False
    bpf_attach.remove_clsact(ifindex)
    return True


def attach(device: str, gue_port: int = GUE_PORT) -> bool:
    """Put the decapsulator on a device that has its ingress hook; say whether anything changed.

    One of an older version, or for another port, is replaced: its VIPs are kept, and no packet is missed.
    Raises ``HostError`` when another program is in its place.
    """
    place = _place(device)
    constants = {"gue_port": gue_port.to_bytes(2, sys.byteorder)}
    with _attached(device) as former, bpf.load(object_path("decap"), constants) as fresh:
        program = fresh.program(PROGRAM)
        if former is None:
            bpf_attach.attach_tc(place, program.fd)
            return True
        if former[0].tag == program.tag and _gue_port(former[1]) == gue_port:
            return False
        for key in bpf_maps.keys(former[1]["vips"]):
            bpf_maps.update(fresh.map("vips"), key, _PRESENT)
        bpf_attach.attach_tc(place, program.fd, replace=True)
        return True


def detach(device: str) -> None:
    """Take the decapsulator off a device; it is no error when it is not there."""
    with _attached(device) as found:
        if found is not None:
            bpf_attach.detach_tc(_place(device))


def is_attached(device: str, gue_port: int = GUE_PORT) -> bool:
    """Say whether the decapsulator is on a device, and looks at this UDP port for GUE."""
    with _attached(device) as found:
        return found is not None and _gue_port(found[1]) == gue_port


def vips(device: str) -> frozenset[Address]:
    """Return the VIPs of the decapsulator on a device; none when it is not there."""
    with _attached(device) as found:
        if found is None:
            return frozenset()
        return frozenset(ip_address(person_address(key)) for key in bpf_maps.keys(found[1]["vips"]))


def add_vip(device: str, vip: Address) -> None:
    """Have the decapsulator on a device accept tunnel packets for a VIP."""
    with _attached(device) as found:
        if found is None:
            raise HostError(f"the decapsulator is not on {device}: run dsrlb backend setup again.")
        bpf_maps.update(found[1]["vips"], wire_address(vip), _PRESENT)


def remove_vip(device: str, vip: Address) -> None:
    """Take a VIP from the decapsulator on a device; it is no error when it is not there."""
    with _attached(device) as found:
        if found is not None:
            bpf_maps.delete(found[1]["vips"], wire_address(vip))


def counters(device: str) -> dict[str, int]:
    """Return how many packets met which fate, by the names in ``COUNTERS``; empty when it is not there."""
    with _attached(device) as found:
        if found is None:
            return {}
        table = found[1]["counters"]
        return {name: _sum(bpf_maps.lookup(table, _index(number))) for number, name in enumerate(COUNTERS)}


@contextmanager
def _attached(device: str) -> Iterator[tuple[bpf.Program, dict[str, bpf_maps.Map]] | None]:
    """Open the decapsulator on a device with its maps by name, or yield None."""
    number = bpf_attach.attached_tc(_place(device))
    if number is None:
        yield None
        return
    with bpf.program_by_id(number) as program, bpf.maps_of(program) as maps:
        if program.name != PROGRAM:
            raise HostError(
                f"the place of the decapsulator on {device} (ingress, pref {PRIORITY}, handle {HANDLE}) is "
                f"taken by another BPF program, {program.name}: remove that filter, or take another device."
            )
        yield program, maps


def _place(device: str) -> bpf_attach.TcPlace:
    try:
        return bpf_attach.TcPlace(socket.if_nametoindex(device), PRIORITY, HANDLE)
    except OSError as error:
        if error.errno != errno.ENODEV:
            raise
        raise HostError(f"there is no device {device}.") from None


def _gue_port(maps: dict[str, bpf_maps.Map]) -> int:
    constants = next(table for name, table in maps.items() if name.endswith(".rodata"))
    return int.from_bytes((bpf_maps.lookup(constants, _index(0)) or b"")[:2], sys.byteorder)


def _index(number: int) -> bytes:
    return number.to_bytes(4, sys.byteorder)


def _sum(per_cpu: bytes | None) -> int:
    return sum(memoryview(per_cpu or b"").cast("Q"))

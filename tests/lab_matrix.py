"""The fault matrix: each fault by its name, the modes that it is one in, and how it comes about in the lab.

============================  =====  =====  ======  ========================================================
fault                         l2dsr  l3dsr  inline  in the lab
============================  =====  =====  ======  ========================================================
vip_missing                   yes    yes            the VIP is taken off rs1
arp_ignore                    yes                   rs1 answers ARP for what is on its lo
arp_announce                  yes                   rs1 asks by ARP as the VIP
second_owner                  yes           yes     a guest on the balancer's segment has the VIP
rp_filter                            yes            rs1 unwraps by tunl0 alone, whose rp_filter is 1
no_decapsulation                     yes            rs1 unwraps nothing
listener_elsewhere            yes    yes            rs1's service listens on rs1's own address
no_listener                   yes    yes    yes     rs1's service does not listen
mtu                                  yes            rs1 announces segments that fill 1500 bytes
path_mtu                      yes    yes    yes     the link to rs1 carries 1400 bytes
default_route                               yes     rs1's default route leads to rs2
conntrack_invalid             yes    yes    yes     the balancer drops what is of no connection that it knows
server_mac                    yes           yes     rs1 has another MAC, the balancer sticks to the old
unreachable                   yes    yes    yes     rs1's cable is out
vip_on_balancer               yes    yes    yes     the balancer's own kernel has the VIP
============================  =====  =====  ======  ========================================================

In ``l3dsr`` the VIP is routed to the balancer, so nobody is asked who has it, and a server's MAC is between
it and its router.  In ``inline`` servers know nothing of the VIP, and their own address is where packets go.
"""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from lab_clients import Clients
from lab_faults import decapsulation_gone, own_address_only, vip_gone
from lab_tunnel import DEVICE, tunnel
from lab_wire import GUEST_MAC, inside, narrow
from pyroute2.nftables.expressions import genex, verdict
from pyroute2.nftables.main import NFTables

from dsrlb.lab.topology import Lab, run
from dsrlb.lab.topology import inside as command_inside

RS1 = "rs1"
NEW_MAC = "02:00:c6:12:99:11"
NFT_KEY_STATE, CT_STATE_INVALID, NFT_CMP_NEQ = 0, 1, 1  # linux/netfilter/nf_tables.h, nf_conntrack_common.h
NF_DROP = 0  # linux/netfilter.h
Fault = Callable[[Clients], AbstractContextManager[None]]


@contextmanager
def undone(do: list[str], undo: list[str]) -> Iterator[None]:
    run(do)
    try:
        yield
    finally:
        run(undo)


def ip(lab: Lab, role: str, *words: str) -> list[str]:
    return ["ip", "-n", lab.namespace(role), *words]


@contextmanager
def sysctl(lab: Lab, role: str, key: str, value: int) -> Iterator[None]:
    command = command_inside(lab.namespace(role), "sysctl", "-n")
    before = run([*command, key]).strip()
    with undone([*command, "-w", f"{key}={value}"], [*command, "-w", f"{key}={before}"]):
        yield


@contextmanager
def arp_ignore_0(clients: Clients) -> Iterator[None]:
    with sysctl(clients.lab, RS1, "net.ipv4.conf.all.arp_ignore", 0):
        yield


@contextmanager
def arp_announce_0(clients: Clients) -> Iterator[None]:
    with sysctl(clients.lab, RS1, "net.ipv4.conf.all.arp_announce", 0):
        run(
            ip(clients.lab, RS1, "neigh", "flush", "dev", "e0")
        )  # sooner or later it asks for somebody anyway
        yield


@contextmanager
def second_owner(clients: Clients) -> Iterator[None]:
    lab = clients.lab
    guest, switch = f"{lab.prefix}guest", lab.namespace("switch")
    subprocess.run(["ip", "netns", "del", guest], capture_output=True, check=False)
    with undone(["ip", "netns", "add", guest], ["ip", "netns", "del", guest]):
        run(["ip", "link", "add", "e0", "netns", guest, "address", GUEST_MAC, "type", "veth",
             "peer", "name", "p-guest", "netns", switch])  # fmt: skip
        run(["ip", "-n", switch, "link", "set", "p-guest", "master", "br0", "up"])
        run(["ip", "-n", guest, "link", "set", "e0", "up"])
        run(["ip", "-n", guest, "addr", "add", f"{lab.vips[0]}/24", "dev", "e0"])
        yield


@contextmanager
def rp_filter_1(clients: Clients) -> Iterator[None]:
    """Unwrap by a device of its own, which works, and then check sources strictly there."""
    lab = clients.lab
    with (
        decapsulation_gone(clients),
        tunnel(lab.namespace(RS1), lab.vips[0]),
        sysctl(lab, RS1, f"net.ipv4.conf.{DEVICE}.rp_filter", 1),
    ):
        yield


@contextmanager
def no_listener(clients: Clients) -> Iterator[None]:
    clients.listeners.pop(RS1).socket.close()
    try:
        yield
    finally:
        clients.listeners[RS1] = clients.listen(RS1)


@contextmanager
def whole_segments(clients: Clients) -> Iterator[None]:
    route = run(ip(clients.lab, RS1, "route", "show", "default")).split()
    at = route.index("advmss")
    change = ip(clients.lab, RS1, "route", "replace")
    with undone([*change, *route[:at], *route[at + 2 :]], [*change, *route]):
        yield


@contextmanager
def link_of_1400(clients: Clients) -> Iterator[None]:
    with narrow(clients.lab, RS1, 1400):
        yield


@contextmanager
def wrong_gateway(clients: Clients) -> Iterator[None]:
    lab = clients.lab
    route = run(ip(lab, RS1, "route", "show", "default")).split()
    wrong = ["default", "via", str(lab.address("rs2"))]
    change = ip(lab, RS1, "route", "replace")
    with undone([*change, *wrong], [*change, *route]):
        yield


@contextmanager
def half_flows_dropped(clients: Clients) -> Iterator[None]:
    """``ct state invalid drop`` in a chain of the balancer at prerouting, behind connection tracking."""
    with inside(clients.lab.namespace("lb")):
        tables = NFTables(nfgen_family=socket.AF_INET)
    state = [
        genex("ct", {"dreg": 1, "key": NFT_KEY_STATE}),
        genex("bitwise", {"sreg": 1, "dreg": 1, "len": 4, "mask": word(CT_STATE_INVALID), "xor": word(0)}),
        genex("cmp", {"sreg": 1, "op": NFT_CMP_NEQ, "data": word(0)}),
        *verdict(NF_DROP),
    ]
    try:
        tables.table("add", name="half")
        tables.chain("add", table="half", name="c", hook="prerouting", type="filter")
        tables.rule("add", table="half", chain="c", expressions=(state,))
        yield
    finally:
        tables.table("del", name="half")
        tables.close()


def word(value: int) -> dict[str, object]:
    """A value of 32 bits, as this machine orders them."""
    return {"attrs": [("NFTA_DATA_VALUE", value.to_bytes(4, sys.byteorder))]}


@contextmanager
def other_mac(clients: Clients) -> Iterator[None]:
    lab = clients.lab
    device = next(one for one in lab.interfaces if on_link(lab, one))
    address, old = str(lab.address(RS1)), lab.mac(RS1)
    run(ip(lab, "lb", "neigh", "replace", address, "lladdr", old, "dev", device, "nud", "permanent"))
    link = ip(lab, RS1, "link", "set", "e0", "address")
    try:
        with undone([*link, NEW_MAC], [*link, old]):
            yield
    finally:
        run(ip(lab, "lb", "neigh", "del", address, "dev", device))


def on_link(lab: Lab, device: str) -> bool:
    """Whether rs1 is on the segment of an interface of the balancer."""
    end = next(one for one in lab.network.ends("lb") if one.device == device)
    return any(lab.address(RS1) in one.network for one in end.addresses if one.version == 4)


@contextmanager
def cable_out(clients: Clients) -> Iterator[None]:
    network = clients.lab.network
    far = network.beyond(next(one for one in network.ends(RS1) if one.device == "e0"))
    link = ip(clients.lab, far.role, "link", "set", far.device)
    with undone([*link, "down"], [*link, "up"]):
        yield


@contextmanager
def vip_on_balancer(clients: Clients) -> Iterator[None]:
    address = f"{clients.lab.vips[0]}/32", "dev", "lo"
    with undone(
        ip(clients.lab, "lb", "addr", "add", *address), ip(clients.lab, "lb", "addr", "del", *address)
    ):
        yield


# What is wrong, by mode, in the order in which it is tried.
FAULTS: dict[str, dict[str, Fault]] = {
    "l2dsr": {
        "vip_missing": vip_gone,
        "arp_ignore": arp_ignore_0,
        "arp_announce": arp_announce_0,
        "second_owner": second_owner,
        "listener_elsewhere": own_address_only,
        "no_listener": no_listener,
        "path_mtu": link_of_1400,
        "conntrack_invalid": half_flows_dropped,
        "server_mac": other_mac,
        "unreachable": cable_out,
        "vip_on_balancer": vip_on_balancer,
    },
    "l3dsr": {
        "vip_missing": vip_gone,
        "no_decapsulation": decapsulation_gone,
        "rp_filter": rp_filter_1,
        "listener_elsewhere": own_address_only,
        "no_listener": no_listener,
        "mtu": whole_segments,
        "path_mtu": link_of_1400,
        "conntrack_invalid": half_flows_dropped,
        "unreachable": cable_out,
        "vip_on_balancer": vip_on_balancer,
    },
    "inline": {
        "second_owner": second_owner,
        "no_listener": no_listener,
        "path_mtu": link_of_1400,
        "default_route": wrong_gateway,
        "conntrack_invalid": half_flows_dropped,
        "server_mac": other_mac,
        "unreachable": cable_out,
        "vip_on_balancer": vip_on_balancer,
    },
}

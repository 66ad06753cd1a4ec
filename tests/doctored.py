"""What a real server of the lab says of itself, healthy, and how it is wanted: to be changed by a word."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Interface, IPv6Interface, ip_address

from dsrlb.doctor.facts_server import ServerFacts, facts_in
from dsrlb.doctor.finding import Finding, Verdict
from dsrlb.doctor.wanted import Wanted
from dsrlb.host.links import Link
from dsrlb.model import Address, Backend, ModeOptions, Service
from dsrlb.preflight import Way

VIP, SERVER, BALANCER, ROUTER = (
    ip_address(f"198.18.1.{number}") for number in (100, 11, 10, 1)
)  # as in the lab of l2dsr
OWN = (IPv4Interface(f"{BALANCER}/24"),), (IPv6Interface("2001:db8:1::10/64"),)
LINK = Link(2, "e0", bytes.fromhex("0200c6120110"), 1500, True, *OWN)

SAID = """\
order 0001
link 1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536 qdisc noqueue state UNKNOWN mode DEFAULT group default\\    \
link/loopback 00:00:00:00:00:00 brd 00:00:00:00:00:00
link 2: e0@if7: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc noqueue state UP group default\\    \
link/ether 02:00:c6:12:01:11 brd ff:ff:ff:ff:ff:ff link-netns x-switch
address 1: lo    inet 127.0.0.1/8 scope host lo\\       valid_lft forever preferred_lft forever
address 1: lo    inet 198.18.1.100/32 scope global lo\\       valid_lft forever preferred_lft forever
address 2: e0    inet 198.18.1.11/24 scope global e0\\       valid_lft forever preferred_lft forever
route default4 default via 198.18.1.1 dev e0 src 198.18.1.11
rt Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
rt e0\t00000000\t010112C6\t0003\t0\t0\t0\t00000000\t0\t0\t0
sysctl ipv4/conf/all/rp_filter 0
sysctl ipv4/conf/all/arp_ignore 1
sysctl ipv4/conf/all/arp_announce 2
sysctl ipv4/conf/e0/rp_filter 0
sysctl ipv4/conf/e0/arp_ignore 0
sysctl ipv4/conf/e0/arp_announce 0
listen tcp 00000000:0050
listen tcp6 00000000000000000000000000000000:0050
tc yes
count TcpExt: ListenDrops IPReversePathFilter
count TcpExt: 7 9
end
"""


def facts(*changes: tuple[str, str], also: str = "") -> ServerFacts:
    """Return the facts in what is said, with words replaced, and with lines that are said as well."""
    said = SAID
    for before, after in changes:
        assert before in said, before
        said = said.replace(before, after)
    return facts_in(said.removesuffix("end\n") + also + "end\n")


def service(mode: str = "l2dsr", vip: Address = VIP, **more: object) -> Service:
    """Return a service of the server's."""
    whole = Service(vip, 80, "tcp", mode, "rr", (Backend(SERVER, label="rs1"),))
    return replace(whole, **more)  # type: ignore[arg-type]  # by the names of its fields


def wanted(*services: Service, way: Way | None = None, **more: object) -> Wanted:
    """Return how the server is wanted for services, one of l2dsr if none is named."""
    serves = tuple((one, one.backends[0]) for one in services or (service(),))
    way = way or Way(LINK, SERVER, 1500, BALANCER)
    return replace(Wanted("rs1", SERVER, serves, way, (BALANCER,)), **more)  # type: ignore[arg-type]


def by_router(mtu_bytes: int = 1500) -> Way:
    """Return the way to a server behind a router."""
    return Way(LINK, ROUTER, mtu_bytes, BALANCER)


def wrong(found: list[Finding]) -> dict[str, Finding]:
    """Return what is wrong, by its name."""
    return {one.name: one for one in found if one.verdict is Verdict.WRONG}


GUE = ModeOptions(encap="gue")

"""Whether the right machines answer on the links: nobody else for VIPs, each server for itself.  Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from dsrlb.doctor.about import About
from dsrlb.doctor.facts_wire import Neighbouring, WireFacts
from dsrlb.doctor.finding import BALANCER, Finding
from dsrlb.model import Address, Service, person_mac

SILENT = "nobody answers by {} for {} on {}"
NAMED = 3  # servers behind a router: so many are told of by name
QUESTION = {4: "ARP", 6: "neighbour discovery"}


def judge_owners(facts: WireFacts, services: Sequence[Service], *, runs: bool) -> Iterator[Finding]:
    """Yield who answers for VIPs; ``runs``: a dsrlb here does, beside all that were heard."""
    of_servers = {mac: one for one in facts.neighbours if one.is_server for mac in one.answers}
    modes: dict[Address, set[str]] = {}
    for service in services:
        modes.setdefault(service.vip, set()).add(service.mode)
    for (vip, device), macs in facts.vips.items():
        others = sorted(macs - facts.own.keys())
        for mac in others:
            server = of_servers.get(mac)
            if server is None:
                yield _second(vip, device, mac)
            else:
                yield _server(vip, device, mac, server, modes[vip])
        if not others:
            here = next((person_mac(mac) for mac, name in facts.own.items() if name == device), "")
            yield _alone(vip, device, here if runs else "")


def _alone(vip: Address, device: str, here: str) -> Finding:
    """Return that nobody else answers; ``here``: the MAC with which dsrlb does, empty: it does not run."""
    says = f"nobody but dsrlb here, {here}, answers for VIP {vip} on {device}"
    if not here:
        says = f"nobody answers for VIP {vip} on {device} yet, as no dsrlb runs here"
    return About("second_owner", BALANCER).ok(says, SILENT.format(QUESTION[vip.version], vip, device))


def _second(vip: Address, device: str, mac: bytes) -> Finding:
    says = (
        f"another machine, {person_mac(mac)}, answers for VIP {vip} on {device}, and takes clients' packets"
    )
    mend = (
        f"find it by its MAC address (ip neigh show dev {device}; the switch's table), and take {vip} off it"
    )
    return About("second_owner", BALANCER).wrong(says, _seen(vip, mac, device), mend)


def _server(vip: Address, device: str, mac: bytes, server: Neighbouring, modes: set[str]) -> Finding:
    label, seen = server.labels[0], _seen(vip, mac, device)
    if modes & {"inline", "proxy"}:
        says = f"the server has VIP {vip}, in this mode the balancer's alone, and takes clients' packets"
        return About("second_owner", label).wrong(says, seen, f"on it: ip addr del {vip} dev DEVICE")
    says = f"the server tells the link that it has VIP {vip}, and takes all of clients' packets"
    mend = f"on it: dsrlb backend setup --mode {min(modes)} --vip {vip}"
    if vip.version == 6:
        return About("second_owner", label).wrong(says, seen, f"{mend}, which has it on lo")
    return About("arp_ignore", label).wrong(
        says, seen, f"{mend}, or: sysctl -w net.ipv4.conf.all.arp_ignore=1"
    )


def _seen(address: Address, mac: bytes, device: str) -> str:
    return f"{QUESTION[address.version]} on {device}: {address} is at {person_mac(mac)}"


class Called(NamedTuple):
    """How findings call a machine that frames are sent to."""

    where: str
    what: str
    is_there: str  # the name of whether it answers
    has_mac: str  # the name of whether frames are sent to its MAC address


def _called(one: Neighbouring) -> Called:
    if one.is_server:
        return Called(one.labels[0], str(one.address), "unreachable", "server_mac")
    behind = ", ".join(one.labels[:NAMED]) + (", …" if len(one.labels) > NAMED else "")
    return Called(BALANCER, f"the router to {behind}, {one.address},", "router", "router_mac")


def judge_neighbours(facts: WireFacts) -> Iterator[Finding]:
    """Yield whether each machine that frames are sent to is there, at the MAC that they are sent to."""
    for one in facts.neighbours:
        macs = sorted(one.answers - facts.own.keys())
        if macs:
            yield from _there(one, _called(one), macs)
        else:
            yield _silent(one, _called(one))


def _there(one: Neighbouring, called: Called, macs: list[bytes]) -> Iterator[Finding]:
    where, what, is_there, has_mac = called
    listed = " and ".join(map(person_mac, macs))
    seen = f"{QUESTION[one.address.version]} on {one.link.name}: {one.address} is at {listed}"
    yield About(is_there, where).ok(f"{what} answers on {one.link.name}", seen)
    sent_to = one.given or one.known
    if sent_to is not None and sent_to not in macs:
        by = f", as {one.given_by} says" if one.given else ""
        says = f"frames for {what} are sent to {person_mac(sent_to)}{by}, and it has another MAC address"
        yield About(has_mac, where).wrong(says, seen, _mend_mac(one, macs[0]))
    elif len(macs) > 1:
        says = f"{what} has several MAC addresses: two machines have it, or one has two interfaces there"
        yield About(has_mac, where).unknown(says, seen)
    else:
        yield About(has_mac, where).ok(f"frames for {what} are sent to its MAC address", seen)


def _silent(one: Neighbouring, called: Called) -> Finding:
    where, what, is_there, _ = called
    about, device = About(is_there, where), one.link.name
    seen = SILENT.format(QUESTION[one.address.version], one.address, device)
    if not one.link.up:
        says = f"{device}, by which {what} is reached, is down"
        return about.wrong(says, seen, f"ip link set {device} up, or its cable")
    if one.given is not None:
        says = f"{what} does not answer on {device}; its MAC address stands in {one.given_by}, so it need not"
        return about.unknown(says, seen)
    says = f"{what} does not answer on {device}: it is off, unplugged, or has another address"
    return about.wrong(says, seen, f"switch it on; on it: ip addr, ip link; here: ping {one.address}")


def _mend_mac(one: Neighbouring, mac: bytes) -> str:
    if one.given_by == "the configuration":
        return f"give mac={person_mac(mac)}, or leave mac out and it is found"
    if one.given_by:
        return f"ip neigh replace {one.address} lladdr {person_mac(mac)} dev {one.link.name}"
    return f"ip neigh flush to {one.address} dev {one.link.name}; dsrlb follows within seconds by itself"

"""Whether a real server has the VIP, and keeps silent about it: what ``dsrlb backend setup`` sees to.  Pure.

What is wrong by these rules may be right by others: a server can take a VIP by a local route, or unwrap by a
program that nobody here knows.  So what a handshake has shown to work is believed (``judge_shake.py``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from dsrlb.doctor.about import About
from dsrlb.doctor.facts_server import Device, Held, ServerFacts
from dsrlb.doctor.finding import Finding
from dsrlb.doctor.judge_listeners import judge_listeners
from dsrlb.doctor.judge_tunnel import judge_tunnel
from dsrlb.doctor.judge_way import judge_way
from dsrlb.doctor.wanted import Wanted

QUIET = {"arp_ignore": 1, "arp_announce": 2}
NO_ANSWERS = {
    "arp_ignore": "answers ARP for the VIP though it is on another device, and takes the traffic",
    "arp_announce": "asks by ARP in the VIP's name, and whoever hears believes that the VIP is there",
}


def judge_server(server: Wanted, facts: ServerFacts) -> Iterator[Finding]:
    """Yield what a server's own facts tell."""
    if server.vips:
        yield from judge_vips(server, facts)
        yield from judge_quiet(server, facts)
    yield from judge_tunnel(server, facts)
    yield from judge_listeners(server, facts)
    yield from judge_way(server, facts)


def judge_vips(server: Wanted, facts: ServerFacts) -> Iterator[Finding]:
    """Yield whether the server has the VIPs, and where."""
    about = About("vip_missing", server.label)
    held = {vip: [one for one in facts.addresses if one.address.ip == vip] for vip in server.vips}
    for service in {one.vip: one for one in server.at_vip}.values():
        vip, places = service.vip, held[service.vip]
        if not places:
            later = " preferred_lft 0" if vip.version == 6 else ""
            mend = f"ip address add {vip}/{vip.max_prefixlen} dev lo{later}"
            yield about.wrong(f"no device there has {vip}", f"{vip} is in no line of ip address", mend)
        for one in places:
            yield from _judge_place(server, facts, one)
    there = [f"{one.address} on {one.device or 'a device'}" for places in held.values() for one in places]
    if all(held.values()):
        yield about.ok("it has the VIP" if len(held) == 1 else "it has the VIPs", ", ".join(there))


def _judge_place(server: Wanted, facts: ServerFacts, held: Held) -> Iterator[Finding]:
    """Yield what is wrong with where a VIP is."""
    device = facts.devices.get(held.device)
    if device is None:
        return
    seen, away = f"{held.address} on {held.device}", f"ip address del {held.address} dev {held.device}"
    if device.kind == "ether" and "NOARP" not in device.flags:
        asks = "ARP" if held.address.version == 4 else "neighbour discovery"
        says = f"{held.address.ip} is on an Ethernet device, which answers {asks} for it"
        yield About("vip_on_ethernet", server.label).wrong(says, seen, away)
    elif held.address.network.prefixlen != held.address.max_prefixlen:
        says = (
            f"{held.address.ip} has a whole network's prefix length: all of {held.address.network} is local"
        )
        alone = f"ip address add {held.address.ip}/{held.address.max_prefixlen} dev {held.device}"
        yield About("vip_prefix", server.label).wrong(says, seen, f"{away}; {alone}")


def judge_quiet(server: Wanted, facts: ServerFacts) -> Iterator[Finding]:
    """Yield whether the server keeps silent in ARP about VIPs of IPv4."""
    if all(vip.version == 6 for vip in server.vips):
        return
    devices = [one.name for one in asked_by_arp(facts.devices.values())]
    for name, least in QUIET.items():
        about = About(name, server.label)
        if f"ipv4/conf/all/{name}" not in facts.sysctls:
            yield about.unknown(f"it does not say what {name} is")
            continue
        values = {device: facts.setting(name, device) for device in devices}
        seen = ", ".join(f"{device}: {value}" for device, value in values.items())
        # 0 answers for all addresses; what is greater, for fewer.
        loud = [device for device, value in values.items() if value < least]
        if loud:
            mend = f"sysctl -w net.ipv4.conf.all.{name}={least}"
            yield about.wrong(f"by {', '.join(loud)} it {NO_ANSWERS[name]}", f"{name} is {seen}", mend)
        else:
            yield about.ok("it keeps silent about the VIP", f"{name} is {seen}")


def asked_by_arp(devices: Iterable[Device]) -> list[Device]:
    """Return the devices on which others may ask."""
    return [one for one in devices if one.kind == "ether" and "UP" in one.flags and "NOARP" not in one.flags]

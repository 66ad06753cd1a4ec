"""Whether a real server of l3dsr takes packets out of the tunnel, and asks for segments that fit.  Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from dsrlb import modes
from dsrlb.doctor.about import About
from dsrlb.doctor.facts_server import Device, Road, ServerFacts
from dsrlb.doctor.finding import Finding
from dsrlb.doctor.wanted import Wanted, setup_command
from dsrlb.host.decap import PROGRAM
from dsrlb.model import Service
from dsrlb.modes.l3dsr import TUNNEL_DEVICES

KINDS = {"ipip": "ipip", "sit": "sit", "ip6_tunnel": "tunnel6"}  # by module: as ip says the kind of a device
HEADERS = {4: 40, 6: 60}  # IP and TCP


def judge_tunnel(server: Wanted, facts: ServerFacts) -> Iterator[Finding]:
    """Yield whether what is wrapped for a server is unwrapped, and fits."""
    ways: dict[tuple[int, str, int], Service] = {}
    for service in server.wrapped:
        options = service.options
        ways.setdefault((service.vip.version, options.encap, options.encap_port), service)
    for service in ways.values():
        yield _judge_decapsulation(server, facts, service)
        yield judge_segments(server, facts, service)


def _judge_decapsulation(server: Wanted, facts: ServerFacts, service: Service) -> Finding:
    about, encap = About("no_decapsulation", server.label), service.options.encap
    device = facts.device_of(server.address)
    with_program = [one for one, said in (facts.programs or {}).items() if PROGRAM in said]
    if device in with_program or (with_program and not device):
        return about.ok(f"the program {PROGRAM} unwraps", f"tc filter show dev {device} ingress")
    mend = setup_command(service)
    if with_program:
        says = (
            f"{PROGRAM} is on {', '.join(with_program)}, but packets for {server.address} come in by {device}"
        )
        return about.wrong(says, f"no {PROGRAM} on {device}", f"{mend} --device {device}")
    module, wanted = TUNNEL_DEVICES[service.vip.version, server.address.version]
    tunnel = _tunnel(facts, module, wanted)
    if encap == "ipip" and tunnel is not None:
        if "UP" in tunnel.flags:
            return about.ok(f"the kernel unwraps by {tunnel.name}", f"{tunnel.name} is up")
        return about.wrong(
            f"{tunnel.name} would unwrap, but is down", "no flag UP", f"ip link set {tunnel.name} up"
        )
    if facts.programs is None:
        return about.unknown(f"there is no tunnel device {wanted}, and no tc to see programs by", "", mend)
    if others := [one for one, said in facts.programs.items() if " bpf " in said]:
        says = f"a program that is not dsrlb's is on {', '.join(others)}; whether it unwraps it does not say"
        return about.unknown(says, " ".join(facts.programs[others[0]].split())[:200])
    lacks = f"no program {PROGRAM} on {device or 'any device'}"
    if encap == "ipip":
        lacks += f", no device {wanted}"
    return about.wrong(f"nothing there unwraps {encap}", lacks, mend)


def _tunnel(facts: ServerFacts, module: str, wanted: str) -> Device | None:
    """Return the tunnel device for packets of anybody, else another of its kind that is up.

    One of another kind takes other packets out: a sit0 that is up drops IPv4 in IPv4, and says nothing.
    *Source*: net/ipv6/sit.c, sit_tunnel_rcv().
    """
    if wanted in facts.devices:
        return facts.devices[wanted]
    devices = facts.devices.values()
    return next((one for one in devices if one.kind == KINDS[module] and "UP" in one.flags), None)


class Room(NamedTuple):
    """The greatest segments that fit into a tunnel, and why."""

    mss: int
    way_mtu_bytes: int
    overhead_bytes: int


def room(server: Wanted, service: Service) -> Room | None:
    """Return what fits into the packets to a server; None where this host does not know the way."""
    if server.way is None:
        return None
    overhead = modes.BY_NAME[service.mode].overhead_bytes(service.options, server.address.version)
    mtu = server.way.mtu_bytes
    return Room(mtu - overhead - HEADERS[service.vip.version], mtu, overhead)


def judge_segments(server: Wanted, facts: ServerFacts, service: Service) -> Finding:
    """Return whether the segments that a server asks its clients for fit into its tunnel."""
    about, version = About("mtu", server.label), service.vip.version
    road = facts.road_to(server.clients.get(version), version)
    fits = room(server, service)
    if service.protocol != "tcp" or fits is None or road is None:
        return about.unknown(
            "which packets clients send to it is not to be told: no TCP, or no way back to them"
        )
    default = facts.road_to(None, version)
    is_default = default is not None and (default.gateway, default.device) == (road.gateway, road.device)
    announced = _announced(facts, road, version)
    return judge_announced(about, service, fits, announced, default if is_default else None)


def _announced(facts: ServerFacts, road: Road, version: int) -> int:
    device = facts.devices.get(road.device)
    most = (road.mtu_bytes or (device.mtu_bytes if device else 1500)) - HEADERS[version]
    return road.advmss or most


def judge_announced(
    about: About, service: Service, fits: Room, announced: int, road: Road | None = None
) -> Finding:
    """Return whether segments of this size fit; ``road``: the default route, if it is the one to change."""
    whole = announced + HEADERS[service.vip.version] + fits.overhead_bytes
    seen = (
        f"asks for segments of {announced} bytes: {whole} bytes wrapped, the way takes {fits.way_mtu_bytes}"
    )
    if announced <= fits.mss:
        return about.ok("what clients send fits into the tunnel", seen)
    says = "whole segments of clients do not fit into the tunnel, and clients that hear no ICMP hang"
    mend = f"{setup_command(service)} --advmss {fits.mss}"
    if road is not None:
        words = " ".join(road.words.replace(f"advmss {road.advmss}", "").split())
        mend = f"ip -{service.vip.version} route replace {words} advmss {fits.mss}"
    return about.wrong(says, seen, mend)

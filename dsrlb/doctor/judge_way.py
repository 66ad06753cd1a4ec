"""Whether a real server takes what comes from clients, and answers by the right way.  Pure."""

from __future__ import annotations

from collections.abc import Iterator

from dsrlb.doctor.about import About
from dsrlb.doctor.facts_server import Road, ServerFacts
from dsrlb.doctor.finding import Finding
from dsrlb.doctor.judge_tunnel import KINDS
from dsrlb.doctor.wanted import Wanted, setup_command
from dsrlb.host.machine import device_key
from dsrlb.model import Address, Service, person_mac
from dsrlb.modes.l3dsr import TUNNEL_DEVICES

STRICT, LOOSE = 1, 2


def judge_way(server: Wanted, facts: ServerFacts) -> Iterator[Finding]:
    """Yield how clients' packets come in and answers go out."""
    ours = server.answered_by_us
    if any(one.vip.version == 4 for one in (*server.at_vip, *ours)):
        yield from judge_rp_filter(server, facts)
    for version in sorted({one.vip.version for one in server.at_vip}):
        yield _judge_past(server, facts, version)
    for version in sorted({one.vip.version for one in ours}):
        service = next(one for one in ours if one.vip.version == version)
        yield _judge_by(server, facts, service)
    if server.mac is not None and server.is_neighbour:
        yield from _judge_mac(server, facts, server.mac)


def judge_rp_filter(server: Wanted, facts: ServerFacts) -> Iterator[Finding]:
    """Yield for each device where clients' packets come in whether they are dropped for their source."""
    about, road = About("rp_filter", server.label), facts.road_to(server.clients.get(4), 4)
    for device in _ways_in(server, facts):
        value = facts.setting("rp_filter", device)
        seen = f"{device}: {value} (the greater of its own and that of all)"
        key = device_key("ipv4", device, "rp_filter")
        has_address = any(one.device == device and one.address.version == 4 for one in facts.addresses)
        if value == STRICT and (road is None or road.device != device):
            by = f"by {road.device}" if road is not None else "by none"
            says = f"clients' packets come in by {device}, the way back to them is {by}: they are dropped"
            yield about.wrong(says, seen, f"sysctl -w {key}={LOOSE}")
        elif value == LOOSE and not has_address:
            says = f"{device} has no IPv4 address, and is checked loosely: clients' packets are dropped"
            mend = f"ip address add {server.vips[0]}/32 dev {device}" if server.vips else f"sysctl -w {key}=0"
            yield about.wrong(says, seen, mend)
        else:
            yield about.ok(f"clients' packets are let in by {device}", seen)


def _ways_in(server: Wanted, facts: ServerFacts) -> list[str]:
    """Return the devices out of which clients' packets of IPv4 come on the server."""
    own = facts.device_of(server.address)
    if not any(one.vip.version == 4 for one in server.wrapped):
        return [own] if own else []
    kind = KINDS[TUNNEL_DEVICES[4, server.address.version][0]]
    tunnels = [
        one.name
        for one in facts.devices.values()
        if "UP" in one.flags and (one.kind == kind or _is_tunnel_of_vip(server, facts, one.name, one.kind))
    ]
    return tunnels or ([own] if own else [])


def _is_tunnel_of_vip(server: Wanted, facts: ServerFacts, name: str, kind: str) -> bool:
    """Return whether a device that is no Ethernet has a VIP: somebody unwraps there."""
    has_vip = any(one.device == name and one.address.ip in server.vips for one in facts.addresses)
    return kind not in ("ether", "loopback") and has_vip


def _judge_past(server: Wanted, facts: ServerFacts, version: int) -> Finding:
    """Return whether answers go past the balancer, as they should in modes of direct return."""
    about, client = About("default_route", server.label), server.clients.get(version)
    road = facts.road_to(client, version)
    if road is None:
        return about.unknown(f"it has no default route of IPv{version}", "", _name_client(client))
    if road.gateway in server.balancer:
        says = "its answers go by the balancer, which is to see none in this mode"
        return about.wrong(says, road.words, "ip route replace default via ROUTER")
    return about.ok("its answers go past the balancer", road.words)


def _judge_by(server: Wanted, facts: ServerFacts, service: Service) -> Finding:
    """Return whether answers go by the balancer, as they have to in mode inline without snat."""
    version = service.vip.version
    about, client = About("default_route", server.label), server.clients.get(version)
    road = facts.road_to(client, version)
    if road is not None and road.gateway in server.balancer:
        return about.ok("its answers go by the balancer", road.words)
    ours = (one for one in server.balancer if one.version == version)
    networks = [one for us in ours for one in facts.by_gateway.get(str(us), ())]
    if client is None and networks:
        says = f"only what is for {', '.join(networks[:5])} goes by the balancer: whether clients are there?"
        return about.unknown(says, road.words if road else "no default route", _name_client(client))
    gateway = next((one for one in server.balancer if one.version == version and not one.is_link_local), None)
    whose = f"to {client} " if client is not None else ""
    says = f"its answers {whose}do not go by the balancer, and clients take them for a stranger's"
    return about.wrong(says, _seen(road), setup_command(service, gateway))


def _seen(road: Road | None) -> str:
    return road.words if road is not None else "it has no route to them"


def _name_client(client: Address | None) -> str:
    return "" if client is not None else "dsrlb doctor --via client=ssh:USER@HOST"


def _judge_mac(server: Wanted, facts: ServerFacts, mac: bytes) -> Iterator[Finding]:
    """Yield whether the MAC that was given by hand is the server's."""
    about, device = About("server_mac", server.label), facts.devices.get(facts.device_of(server.address))
    if device is None:
        return
    given = person_mac(mac)
    if device.mac == given:
        yield about.ok("its MAC address is the one given by hand", given)
        return
    mend = f"leave mac out of the backend {server.address}, or write mac={device.mac}"
    if not any(backend.mac for _, backend in server.serves):
        mend = f"ip neighbour del {server.address} dev {server.way.link.name}" if server.way else ""
    says = f"packets for it go to {given}, its {device.name} has another MAC address"
    yield about.wrong(says, f"{device.name}: {device.mac}", mend)

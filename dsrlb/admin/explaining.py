"""``explain``: what a running balancer would do with a packet now; nothing is sent, nothing remembered."""

from __future__ import annotations

from base64 import b64decode
from binascii import Error as NotBase64
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from dsrlb.admin.explained import Around, Row, explained
from dsrlb.admin.tracing import interface_names
from dsrlb.admin.words import Words, take
from dsrlb.config.ends import parse_client, parse_flags, parse_place
from dsrlb.control import Loop
from dsrlb.errors import DsrlbError, UsageError
from dsrlb.foresight.foretold import Foretold, Scene, foretell
from dsrlb.foresight.question import MOST_PAYLOAD_BYTES, Question, frame_of
from dsrlb.foresight.subject import packet_of
from dsrlb.host.neighbours import neighbours, routes_to
from dsrlb.model import ANY_PORT, PROTOCOL_NUMBERS, Address, Service, person_mac, wire_address
from dsrlb.wire import l4

STAND_IN_MAC = bytes.fromhex("020000000002")  # whom a packet comes from, where nobody knows
MOST_FRAME_BYTES = 12_000  # in one request
_KINDS: Mapping[str, type] = {
    "client": str, "to": str, "flags": str, "payload": int, "frame": str, "interface": str, "to_us": bool,
}  # fmt: skip


def explain(loop: Loop, words: Words) -> Row:
    """Return what would come of a packet.  Raises UsageError."""
    said = take(words, _KINDS)
    if said["frame"] is not None:
        return _of_frame(loop, said)
    if said["client"] is None or said["to"] is None:
        raise UsageError("the request says neither client and to, nor frame")
    return _of_question(loop, question_of(said), said["interface"])


def question_of(said: Mapping[str, Any]) -> Question:
    """Return the packet that is asked about.  Raises UsageError."""
    (client, sport), (vip, dport, protocol) = parse_client(said["client"]), parse_place(said["to"])
    if client.version != vip.version:
        raise UsageError(f"client {client} and VIP {vip} are of two IP versions")
    payload = said["payload"] or 0
    if not 0 <= payload <= MOST_PAYLOAD_BYTES:
        raise UsageError(f"payload {payload} is not 0 to {MOST_PAYLOAD_BYTES} bytes")
    flags = parse_flags(said["flags"] or "S")
    return Question(client, sport, vip, dport, protocol, flags, payload)


def _of_question(loop: Loop, asked: Question, interface: str | None) -> Row:
    ifindex, router = _way_from(loop, asked.client, interface)
    frame = frame_of(asked, _macs(loop)[ifindex] + (router or STAND_IN_MAC))
    unknown = f"the MAC that it comes from is not known; {person_mac(STAND_IN_MAC)} stands for it"
    return _told(loop, frame, ifindex, [] if router else [unknown])


def _of_frame(loop: Loop, said: Mapping[str, Any]) -> Row:
    try:
        frame = b64decode(said["frame"], validate=True)
    except NotBase64:
        raise UsageError("the frame is not in base 64") from None
    if len(frame) > MOST_FRAME_BYTES:
        raise UsageError(f"the frame has {len(frame)} bytes; at most {MOST_FRAME_BYTES} can be asked about")
    macs = _macs(loop)
    by_mac = next((ifindex for ifindex, mac in macs.items() if frame[:6] == mac), next(iter(macs)))
    ifindex = by_mac if said["interface"] is None else _named(loop, said["interface"])
    if said["to_us"]:
        frame = macs[ifindex] + frame[6:]
    notes = [] if frame[:6] == macs[ifindex] else [_not_ours(loop, frame, ifindex)]
    return _told(loop, frame, ifindex, notes)


def _not_ours(loop: Loop, frame: bytes, ifindex: int) -> str:
    name, mac = loop.front.links[ifindex].name, person_mac(_macs(loop)[ifindex])
    return f"the frame is for {person_mac(frame[:6])}; {name} has {mac} (--to-us: as if it were for that)"


def _told(loop: Loop, frame: bytes, ifindex: int, notes: list[str]) -> Row:
    def question(scene: Scene) -> Foretold:
        return foretell(frame, ifindex, scene)

    told = loop.engine.ask(question)
    proxied = proxied_for(frame, loop.config.proxied)
    if proxied is not None:
        notes = [*notes, proxy_note(proxied)]
    around = Around(loop.config.forwarded, interface_names(loop), loop.engine.name, loop.standings.of, notes)
    return explained(told, frame, ifindex, around)


def proxied_for(frame: bytes, services: Sequence[Service]) -> Service | None:
    """Return the service of mode proxy that a frame is for."""
    packet = packet_of(frame)
    if packet is None or packet.protocol not in (l4.TCP, l4.UDP):
        return None
    port = int.from_bytes(frame[packet.l4_at + 2 : packet.l4_at + 4], "big")
    for one in services:
        is_its = wire_address(one.vip) == packet.dst and PROTOCOL_NUMBERS[one.protocol] == packet.protocol
        if is_its and one.port in (port, ANY_PORT):
            return one
    return None


def proxy_note(service: Service) -> str:
    """Return what there is to say of a packet for a service of mode proxy."""
    return (
        f"{service.name} is of mode proxy: HAProxy ends the connection on this host and picks a server for "
        "each request itself (dsrlb show backends, dsrlb show haproxy)"
    )


def _macs(loop: Loop) -> dict[int, bytes]:
    """Return the MACs of the interfaces that packets of clients come in by."""
    return {ifindex: link.mac for ifindex, link in loop.front.links.items()}


def _named(loop: Loop, name: str) -> int:
    for ifindex, link in loop.front.links.items():
        if link.name == name:
            return ifindex
    names = ", ".join(link.name for link in loop.front.links.values())
    raise UsageError(f"packets of clients do not come in by {name!r}; they do by {names}")


def _way_from(loop: Loop, client: Address, name: str | None) -> tuple[int, bytes | None]:
    """Return the interface that a client's packets come in by, and the MAC that they come from, if known.

    That is where this host would send to the client; the way of packets to the balancer may be another one.
    """
    route = None
    with suppress(DsrlbError, OSError):
        route = routes_to([client])[client]
    named = _named(loop, name) if name is not None else None
    by_route = route.ifindex if route is not None and route.ifindex in loop.front.links else None
    ifindex = named or by_route or next(iter(loop.front.links))
    if route is None or route.ifindex != ifindex:
        return ifindex, None
    with suppress(OSError):
        entry = neighbours(ifindex).get((ifindex, wire_address(route.gateway or client)))
        return ifindex, entry.mac if entry is not None else None
    return ifindex, None

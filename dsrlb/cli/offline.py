"""What a balancer that has just been started with a file would do with a packet; none has to run.

What a file does not tell is stood in for, and that is said: MACs, the balancer's own addresses, MTUs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import ip_address

from dsrlb import modes
from dsrlb.admin.explained import Around, Row, explained
from dsrlb.admin.explaining import STAND_IN_MAC, proxied_for, proxy_note
from dsrlb.config import Config
from dsrlb.engines.replay import IFINDEX, MTU_BYTES
from dsrlb.foresight.foretold import Scene, foretell
from dsrlb.foresight.overlay import overlay
from dsrlb.foresight.question import Question, frame_of
from dsrlb.model import Address, Hop, person_mac, wire_address
from dsrlb.modes.base import wraps
from dsrlb.state import State
from dsrlb.table import compile_table

OWN_MAC, SERVER_MAC = bytes.fromhex("020000000001"), bytes.fromhex("020000000003")
OWN = {4: ip_address("192.0.2.1"), 6: ip_address("2001:db8::1")}  # RFC 5737, RFC 3849: of no host


def explain_question(config: Config, asked: Question) -> Row:
    """Return what would come of a client's packet."""
    return explain_frame(config, frame_of(asked, OWN_MAC + STAND_IN_MAC))


def explain_frame(config: Config, frame: bytes) -> Row:
    """Return what would come of a frame that is sent to the balancer, whatever its MAC is."""
    hops = {
        backend.address: Hop(
            IFINDEX,
            frame[:6],
            backend.mac or SERVER_MAC,
            MTU_BYTES,
            wire_address(OWN[backend.address.version]),
        )
        for service in config.forwarded
        for backend in service.backends
    }
    table, state = compile_table(config.forwarded, hops, {IFINDEX: None}), State()
    told = foretell(frame, IFINDEX, Scene(table, 0, lambda: overlay(state)))
    proxied = proxied_for(frame, config.proxied)
    notes = [*_taken_for_granted(config, hops), *([proxy_note(proxied)] if proxied is not None else [])]
    return explained(told, frame, IFINDEX, Around(config.forwarded, {IFINDEX: "the interface"}, notes=notes))


def _taken_for_granted(config: Config, hops: Mapping[Address, Hop]) -> Iterator[str]:
    yield "no balancer was asked: every backend is taken for up, and no flow is on record"
    yield f"every way to a backend is taken for one of {MTU_BYTES} bytes"
    if any(hop.dst_mac == SERVER_MAC for hop in hops.values()):
        yield f"MACs that the file does not give are {person_mac(SERVER_MAC)}"
    wrapping = [one for one in config.forwarded if wraps(modes.BY_NAME[one.mode], one.options)]
    if any(one.options.source is None for one in wrapping):
        yield f"the balancer's own address is {OWN[4]} or {OWN[6]}"

"""Whether something listens on a real server where the balancer's packets arrive.  Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from ipaddress import IPv6Address

from dsrlb.doctor.about import About
from dsrlb.doctor.facts_server import Listener, ServerFacts
from dsrlb.doctor.finding import Finding
from dsrlb.doctor.wanted import Wanted
from dsrlb.model import Address

ABSENT, ELSEWHERE = "no_listener", "listener_elsewhere"


def judge_listeners(server: Wanted, facts: ServerFacts) -> Iterator[Finding]:
    """Yield for each place whether something listens there."""
    for protocol, address, port in dict.fromkeys(
        (service.protocol, address, port) for service, address, port in server.ports()
    ):
        at_port = [one for one in facts.listeners if (one.protocol, one.port) == (protocol, port)]
        yield _judge(server.label, protocol, address, port, at_port)


def _judge(label: str, protocol: str, address: Address, port: int, at_port: Sequence[Listener]) -> Finding:
    place = f"{address}, port {port}/{protocol}"
    seen = ", ".join(f"{_person(one.address)}:{port}/{protocol}" for one in at_port)
    look = f"ss -ln{protocol[0]}p sport = :{port}"
    if not at_port:
        says = f"nothing listens on port {port}/{protocol}"
        return About(ABSENT, label).wrong(
            says, f"no socket of {port}/{protocol}", f"start the service; {look}"
        )
    if any(_takes(one.address, address) for one in at_port):
        return About(ABSENT, label).ok(f"something listens at {place}", seen)
    says = f"what listens on port {port}/{protocol} does so at other addresses, not at {address}"
    mend = f"let the service listen on {address}, or on all addresses; {look}"
    return About(ELSEWHERE, label).wrong(says, f"listens at {seen}", mend)


def _takes(bound: Address, address: Address) -> bool:
    """Return whether a socket of this address takes what is for another; an IPv6 one mostly takes IPv4."""
    if int(bound) == 0:
        return bound.version >= address.version
    mapped = bound.ipv4_mapped if isinstance(bound, IPv6Address) else None
    return address in (bound, mapped)


def _person(address: Address) -> str:
    return f"[{address}]" if address.version == 6 else str(address)

"""Does an engine under real traffic see how long handshakes take, and which ones fail?"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from lab_delay import slow
from lab_running import RS1, RS2, RS3, connects
from lab_wire import LB_MAC, eventually, inside

from dsrlb.config import parse_backend
from dsrlb.engines.base import Hears
from dsrlb.engines.packet import PacketEngine
from dsrlb.host.links import link
from dsrlb.lab.topology import VIP, Lab
from dsrlb.model import Hop, Service, backend_key, wire_address
from dsrlb.sampling import Handshakes, bounds
from dsrlb.table import compile_table

ALL = RS1, RS2, RS3
NOWHERE, NOBODYS_MAC = "198.18.1.99", bytes.fromhex("0200c6120199")
DELAY_S, DELAY_US = 0.05, 50_000
OPEN, CLOSED, LOST = 80, 81, 82  # ports: of servers that answer, that refuse, that are not there


class Watched:
    """An engine between the lab's client and its servers, in this process."""

    def __init__(self, lab: Lab) -> None:
        """Run within the balancer's namespace."""
        here = link("e0")
        macs = {RS1: lab.mac("rs1"), RS2: lab.mac("rs2"), RS3: lab.mac("rs3")}
        behind = {name: bytes.fromhex(mac.replace(":", "")) for name, mac in macs.items()}
        behind[NOWHERE] = NOBODYS_MAC
        hops = {parse_backend(name).address: Hop(here.ifindex, LB_MAC, mac) for name, mac in behind.items()}
        of = {OPEN: ALL, CLOSED: (RS1,), LOST: (NOWHERE,)}
        services = [
            Service(VIP, port, "tcp", "l2dsr", "rr", tuple(map(parse_backend, names)), passive=True)
            for port, names in of.items()
        ]
        self.failures: list[Exception] = []
        hears = Hears(lambda frame, ifindex: None, self.failures.append, lambda frame: None)
        self.engine = PacketEngine([here], [wire_address(VIP)], hears)
        self.engine.install(compile_table(services, hops, {here.ifindex: LB_MAC}))
        self.engine.start()

    def of(self, backend: str, port: int = OPEN) -> Handshakes | None:
        """Return what was seen of a backend so far."""
        key = backend_key(parse_backend(backend))
        seen = self.engine.handshakes()
        found = (
            one for (of, there), one in seen.items() if there == key and of[16:18] == port.to_bytes(2, "big")
        )
        return next(found, None)


@contextmanager
def watched(lab: Lab) -> Iterator[Watched]:
    with inside(lab.namespace("lb")):
        it = Watched(lab)
    try:
        yield it
        assert it.failures == []
    finally:
        it.engine.close()


def fastest_and_slowest_us(seen: Handshakes) -> tuple[int, int]:
    """Return the least and the greatest time that the buckets leave possible."""
    filled = [bucket for bucket, count in enumerate(seen.times) if count]
    return bounds(filled[0])[0], bounds(filled[-1])[1]


def test_what_clients_meet_is_what_the_engine_sees(lab: Lab) -> None:
    with slow(lab, "rs2", DELAY_S), watched(lab) as it:
        assert all(connects(lab, timeout_s=10) for _ in range(9))
        assert eventually(lambda: sum(one.answered for name in ALL if (one := it.of(name))) == 9, 10)
        for name in ALL:
            seen = it.of(name)
            assert seen is not None
            assert seen.opened in (2, 3, 4)  # what an older connection still has to say takes a turn as well
            assert seen[:5] == (seen.opened, seen.opened, 0, 0, 0)
            least_us, most_us = fastest_and_slowest_us(seen)
            assert most_us > DELAY_US if name == RS2 else least_us < DELAY_US
            assert least_us > DELAY_US * 0.8 or name != RS2  # a bucket is as wide as a quarter of it


def test_handshakes_that_fail_are_seen_to(lab: Lab) -> None:
    with watched(lab) as it:
        assert not connects(
            lab, timeout_s=10, port=CLOSED
        )  # refused, past the balancer: all that it sees is silence
        assert eventually(lambda: (one := it.of(RS1, CLOSED)) and one.opened == 1, 10)
        refused = it.of(RS1, CLOSED)
        assert refused is not None
        assert refused[:5] == (1, 0, 0, 0, 0)
        assert len(refused.waiting_us) == 1
        assert not connects(lab, timeout_s=1.5, port=LOST)  # the client's host asks again after a second
        assert eventually(lambda: (one := it.of(NOWHERE, LOST)) and one.again == 1, 10)
        lost = it.of(NOWHERE, LOST)
        assert lost is not None
        assert lost[:5] == (1, 0, 1, 0, 0)
        assert not lost.waiting_us

"""Does the packet engine keep its books when it stops, and when an interface goes away?"""

from __future__ import annotations

import os
from collections.abc import Iterator
from ipaddress import ip_address
from threading import Event
from time import monotonic
from types import SimpleNamespace

import balancer
import packets
import pytest

from dsrlb.engines import sockets
from dsrlb.engines.base import Hears
from dsrlb.engines.packet import PacketEngine
from dsrlb.frameio.filter import Interest
from dsrlb.frameio.sendmmsg import Sent
from dsrlb.frameio.vnet import NO_VNET
from dsrlb.frameio.way_out import WayOut
from dsrlb.host.links import Link
from dsrlb.model import Action, Reason, wire_address


class Source:
    """Stands in for a packet socket that has lost seven frames and hears nothing."""

    def __init__(self, _: str, interest: Interest, **__: object) -> None:
        self.read, self.write = os.pipe()
        self.exists, self.interest = True, interest

    def fileno(self) -> int:
        return self.read

    def drops(self) -> int:
        return 7

    def set_interest(self, interest: Interest) -> None:
        self.interest = interest

    def present(self) -> bool:
        return self.exists

    def close(self) -> None:
        os.close(self.read)
        os.close(self.write)


class Way(WayOut):
    """Stands in for a socket that only sends."""

    def __init__(self, _: str) -> None:
        self.exists, self.closed, self.count = True, False, 0

    def present(self) -> bool:
        return self.exists

    def send_all(self, frames: object) -> Sent:
        self.count += len(list(frames))  # type: ignore[call-overload]
        return Sent(self.count, 0, 0)

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Iterator[PacketEngine]:
    monkeypatch.setattr(sockets, "PacketSocket", Source)
    monkeypatch.setattr(sockets, "WayOut", Way)
    made = PacketEngine([SimpleNamespace(ifindex=2, name="e0")], [], Hears(print, print, print))  # type: ignore[list-item]
    yield made
    made.close()


def test_what_the_ring_lost_in_the_last_second_is_counted(engine: PacketEngine) -> None:
    engine.start()
    engine.stop()
    assert engine.state.reasons[Reason.RECEIVE_RING_FULL] == 7


def test_a_deleted_interface_that_frames_only_left_by_gives_its_socket_back(engine: PacketEngine) -> None:
    engine.known = lambda *_: (Action.REDIRECT, Reason.FORWARDED, 3, b"frame")
    engine.add_way_out(SimpleNamespace(ifindex=3, name="x0"))  # type: ignore[arg-type]
    way, source = engine._sockets.ways[3], SimpleNamespace(receive=lambda _: [(NO_VNET, b"frame")])
    assert isinstance(way, Way)
    look_for_lost(engine)
    engine._forward_batch(2, source)  # type: ignore[arg-type]
    assert (way.closed, way.count, engine.state.reasons[Reason.SEND_FAILED]) == (False, 1, 0)
    way.exists = False
    look_for_lost(engine)
    engine._forward_batch(2, source)  # type: ignore[arg-type]  # the table may still lead there
    assert (way.closed, way.count, engine.state.reasons[Reason.SEND_FAILED]) == (True, 1, 1)
    engine.add_way_out(SimpleNamespace(ifindex=3, name="x0"))  # type: ignore[arg-type]  # it is back
    assert engine._sockets.ways[3] is not way


def look_for_lost(engine: PacketEngine) -> None:
    """What the engine's thread does once a second."""
    if engine._sockets.retire_lost():
        engine._poller()


def link_of(ifindex: int) -> Link:
    return SimpleNamespace(ifindex=ifindex, name=f"e{ifindex}")  # type: ignore[return-value]


FAR = "198.18.21.2,mac=02:00:c6:12:01:00"
OWN = wire_address(ip_address(packets.BALANCER_IP))


def test_errors_about_wrapped_packets_are_heard_on_every_way_to_their_servers(engine: PacketEngine) -> None:
    engine.add_way_out(link_of(3), hears=True)
    engine.add_way_out(link_of(4))
    assert set(engine._sockets.sources) == {2, 3}
    engine.install(balancer.table(backends=[FAR], mode="l3dsr"))
    assert [source.interest.errors_to for source in engine._sockets.sources.values()] == [(OWN,), (OWN,)]  # type: ignore[attr-defined]
    engine.add_way_out(link_of(4), hears=True)  # another service wraps: what was for sending only is heard
    assert engine._sockets.sources[4].interest == Interest((), (OWN,))  # type: ignore[attr-defined]
    engine.install(balancer.table())
    assert {source.interest.errors_to for source in engine._sockets.sources.values()} == {()}  # type: ignore[attr-defined]


def test_a_way_that_began_to_be_heard_is_polled_and_one_that_is_deleted_no_more(engine: PacketEngine) -> None:
    heard = Event()
    engine.start()
    engine.add_way_out(link_of(3), hears=True)
    ear = engine._sockets.sources[3]
    ear.receive = lambda _: heard.set() or []  # type: ignore[method-assign, func-returns-value]
    os.write(ear.write, b"x")  # type: ignore[attr-defined]
    assert heard.wait(20)
    ear.exists = False  # type: ignore[attr-defined]
    until = monotonic() + 20
    while 3 in engine._sockets.sources and monotonic() < until:
        heard.wait(0.01)
    assert 3 not in engine._sockets.sources
    assert 3 not in engine._sockets.ways
    assert engine._thread.is_alive()


def test_a_server_that_refuses_is_told_of(engine: PacketEngine) -> None:
    told: list[bytes] = []
    engine.known = lambda *_: (Action.DROP, Reason.NO_DECAPSULATION, 0, b"")
    engine._hears = Hears(print, print, told.append)
    source = SimpleNamespace(receive=lambda _: [(NO_VNET, b"frame")])
    engine._forward_batch(2, source)  # type: ignore[arg-type]
    assert told == [b"frame"]

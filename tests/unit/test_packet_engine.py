"""Does the packet engine keep its books when it stops, and when an interface goes away?"""

from __future__ import annotations

import os
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from dsrlb.engines import packet
from dsrlb.engines.packet import PacketEngine
from dsrlb.frameio.sendmmsg import Sent
from dsrlb.frameio.vnet import NO_VNET
from dsrlb.frameio.way_out import WayOut
from dsrlb.model import Action, Reason


class Source:
    """Stands in for a packet socket that has lost seven frames and hears nothing."""

    def __init__(self, *_: object) -> None:
        self.read, self.write = os.pipe()

    def fileno(self) -> int:
        return self.read

    def drops(self) -> int:
        return 7

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
    monkeypatch.setattr(packet, "PacketSocket", Source)
    monkeypatch.setattr(packet, "WayOut", Way)
    made = PacketEngine([SimpleNamespace(ifindex=2, name="e0")], [], print, print)  # type: ignore[list-item]
    yield made
    made.close()


def test_what_the_ring_lost_in_the_last_second_is_counted(engine: PacketEngine) -> None:
    engine.start()
    engine.stop()
    assert engine.state.reasons[Reason.RECEIVE_RING_FULL] == 7


def test_a_deleted_interface_that_frames_only_left_by_gives_its_socket_back(
    engine: PacketEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packet, "process", lambda *_: (Action.REDIRECT, Reason.FORWARDED, 3, b"frame"))
    engine.add_way_out(SimpleNamespace(ifindex=3, name="x0"))  # type: ignore[arg-type]
    way, source = engine._ways[3], SimpleNamespace(receive=lambda _: [(NO_VNET, b"frame")])
    assert isinstance(way, Way)
    engine._close_lost_ways()
    engine._forward_batch(2, source)  # type: ignore[arg-type]
    assert (way.closed, way.count, engine.state.reasons[Reason.SEND_FAILED]) == (False, 1, 0)
    way.exists = False
    engine._close_lost_ways()
    engine._forward_batch(2, source)  # type: ignore[arg-type]  # the table may still lead there
    assert (way.closed, way.count, engine.state.reasons[Reason.SEND_FAILED]) == (True, 1, 1)
    engine.add_way_out(SimpleNamespace(ifindex=3, name="x0"))  # type: ignore[arg-type]  # it is back
    assert engine._ways[3] is not way

"""Do the engine's sockets follow VIPs and interfaces that come and go, with nothing left open?"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from dsrlb.engines import sockets
from dsrlb.engines.sockets import Sockets
from dsrlb.errors import ConfigError, HostError
from dsrlb.frameio.filter import Interest
from dsrlb.host.links import Link
from dsrlb.model import V4_MAPPED

ONE, TWO = (V4_MAPPED + bytes((198, 18, 1, last)) for last in (100, 101))
SIX = bytes.fromhex("20010db8000000000000000000000064")
numbers = itertools.count(100)
opened: list[Source | Way] = []


class Source:
    """Stands in for a packet socket."""

    def __init__(self, name: str, interest: Interest, **_: object) -> None:
        if name == "gone":
            raise ConfigError("there is no interface gone")
        self.name, self.interest, self.number, self.groups = name, interest, next(numbers), set[bytes]()
        self.is_open = self.exists = True
        opened.append(self)

    def fileno(self) -> int:
        return self.number

    def drops(self) -> int:
        return 3

    def present(self) -> bool:
        return self.exists

    def set_interest(self, interest: Interest) -> None:
        self.interest = interest

    def join_solicited_node(self, vip: bytes) -> None:
        if self.name == "deaf":
            raise HostError("it takes no multicast address")
        self.groups.add(vip)

    def leave_solicited_node(self, vip: bytes) -> None:
        self.groups.discard(vip)

    def close(self) -> None:
        assert self.is_open
        self.is_open = False


class Way(Source):
    """Stands in for a socket that only sends."""

    def __init__(self, name: str) -> None:
        super().__init__(name, Interest())


def link(ifindex: int, name: str = "") -> Link:
    return Link(ifindex, name or f"e{ifindex}", bytes(6), 1500, True, (), ())


@pytest.fixture
def front(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sockets]:
    """One interface, two VIPs."""
    opened.clear()
    monkeypatch.setattr(sockets, "PacketSocket", Source)
    monkeypatch.setattr(sockets, "WayOut", Way)
    made = Sockets([link(2)], [ONE, SIX])
    yield made
    made.close()
    assert not any(one.is_open for one in opened)


def state(it: Sockets) -> dict[str, tuple[Interest, set[bytes]]]:
    """Return what is heard, by interface."""
    return {one.name: (one.interest, set(one.groups)) for one in it.sources.values()}  # type: ignore[attr-defined]


def test_wider_is_both_and_narrower_is_the_new(front: Sockets) -> None:
    front.widen([link(2), link(3)], [TWO])
    both = Interest((ONE, SIX, TWO))
    assert state(front) == {"e2": (both, {SIX}), "e3": (both, {SIX})}
    front.narrow([link(3)], [TWO], ways=[])
    assert state(front) == {"e3": (Interest((TWO,)), set())}
    assert sum(one.is_open for one in opened) == 2  # what nobody needs is open until nobody uses it
    assert [name for name, _ in front.sources_by_fd().values()] == [3]
    assert sum(one.is_open for one in opened) == 1


def test_an_ipv6_vip_that_comes_is_joined_on_the_sockets_that_are_there(front: Sockets) -> None:
    other = SIX[:-1] + b"\x65"
    front.widen([link(2)], [other])
    assert state(front)["e2"][1] == {SIX, other}
    front.narrow([link(2)], [ONE, other], ways=[])
    assert state(front) == {"e2": (Interest((ONE, other)), {other})}


@pytest.mark.parametrize("name", ["gone", "deaf"])
def test_what_cannot_be_opened_changes_nothing(name: str, front: Sockets) -> None:
    before, ways = state(front), dict(front.ways)
    with pytest.raises((ConfigError, HostError)):
        front.widen([link(2), link(3), link(4, name)], [TWO, SIX[:-1] + b"\x65"])
    assert (state(front), front.ways) == (before, ways)
    assert [one.name for one in opened if one.is_open] == ["e2"]


def test_an_interface_that_frames_only_left_by_becomes_one_that_hears_and_back(front: Sockets) -> None:
    front.add_way_out(link(3))
    front.widen([link(3)], [])
    assert set(front.sources) == {2, 3} and isinstance(front.ways[3], Source)
    front.narrow([link(2)], [ONE], ways=[3])
    assert state(front) == {"e2": (Interest((ONE,)), set()), "e3": (Interest(), set())}
    assert set(front.ways) == {2, 3}


def test_ways_that_are_needed_stay(front: Sockets) -> None:
    for ifindex in (3, 4, 5):
        front.add_way_out(link(ifindex), hears=ifindex == 5)
    front.hear([TWO], [])
    front.narrow([link(2)], [ONE], ways=[4, 5])
    assert set(front.ways) == {2, 4, 5}
    assert state(front)["e5"] == (Interest((), (TWO,)), set())


def test_what_servers_answer_is_heard_where_clients_frames_come_in_and_nowhere_else(front: Sockets) -> None:
    front.add_way_out(link(5), hears=True)
    front.hear([TWO], [SIX])
    front.widen([link(3)], [ONE])
    heard = {name: interest for name, (interest, _) in state(front).items()}
    assert heard["e2"].servers == heard["e3"].servers == (SIX,)
    assert heard["e5"] == Interest((), (TWO,))


def test_a_deleted_way_is_retired_and_closed_once_it_is_polled_no_more(front: Sockets) -> None:
    front.add_way_out(link(3), hears=True)
    assert not front.retire_lost()
    ear = front.sources[3]
    ear.exists = False  # type: ignore[attr-defined]
    assert front.retire_lost() and ear.is_open  # type: ignore[attr-defined]
    assert list(front.sources_by_fd()) == [front.sources[2].fileno()]
    assert not ear.is_open and not front.retire_lost()  # type: ignore[attr-defined]


def test_a_front_interface_that_is_deleted_stays_until_a_reload(front: Sockets) -> None:
    front.sources[2].exists = False  # type: ignore[attr-defined]
    assert not front.retire_lost() and 2 in front.sources
    front.widen([link(7)], [ONE])  # it is back, under another number
    front.narrow([link(7)], [ONE, SIX], ways=[7])
    assert set(front.ways) == {7}


def test_frames_that_a_closed_ring_lost_stay_counted(front: Sockets) -> None:
    front.widen([link(3)], [])
    assert front.drops() == 6
    front.narrow([link(2)], [ONE], ways=[])
    assert front.drops() == 6

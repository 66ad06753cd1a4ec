"""Is a source port never given twice at a time, and does one given back rest for as long as it can?"""

from __future__ import annotations

import random
import sys
from itertools import chain, pairwise

import pytest

from dsrlb import ports
from dsrlb.ports import COUNT, FIRST, LAST, REST_S, SourcePorts

SERVER, SOURCE = bytes(15) + b"\x01", bytes(15) + b"\x02"
NAME = SERVER + SOURCE + b"\x00\x50" + b"\x9c\x40" + bytes((6, 0, 0, 0))
OTHER = SERVER + SOURCE + b"\x00\x51" + b"\x9c\x40" + bytes((6, 0, 0, 0))


def port_of(reply_key: bytes | None) -> int:
    assert reply_key is not None
    return int.from_bytes(reply_key[34:36], "big")


def test_only_the_port_of_a_name_is_replaced() -> None:
    named = SourcePorts().take(NAME, 0)
    assert named is not None
    assert (named[:34], named[36:]) == (NAME[:34], NAME[36:])


def test_every_port_is_given_once_and_then_there_is_none() -> None:
    here = SourcePorts()
    given = {port_of(here.take(NAME, 7)) for _ in range(COUNT)}
    assert given == set(range(FIRST, LAST + 1))
    assert here.take(NAME, 7) is None
    assert here.take(OTHER, 7) is not None  # another service of the same server has ports of its own


def test_ports_are_given_in_order_and_behind_the_last_comes_the_first() -> None:
    here = SourcePorts()
    given = [port_of(here.take(NAME, 7)) for _ in range(COUNT)]
    assert all(after == before + 1 or (before, after) == (LAST, FIRST) for before, after in pairwise(given))


def test_a_port_given_back_is_taken_again_when_all_others_have_had_their_turn() -> None:
    here = SourcePorts()
    first, second, third = (here.take(NAME, 0) for _ in range(3))
    assert first and second and third
    here.give_back(third)
    here.give_back(first)
    for _ in range(COUNT - 3):
        assert here.take(NAME, 0) not in (first, second, third)
    assert [here.take(NAME, 0) for _ in range(3)] == [first, third, None]
    here.give_back(second)
    assert [here.take(NAME, 0) for _ in range(2)] == [second, None]


def test_a_ring_says_what_looking_at_one_port_after_the_other_would(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "COUNT", 50)
    monkeypatch.setattr(ports, "_ALL", (1 << 50) - 1)
    rng, here = random.Random(1), SourcePorts()
    at = port_of(here.take(NAME, 0))
    used = {at}
    for turn in range(5000):
        if used and rng.random() < (0.3 if turn % 500 < 250 else 0.6):
            port = rng.choice(sorted(used))
            used.discard(port)
            here.give_back(NAME[:34] + port.to_bytes(2, "big") + NAME[36:])
            continue
        behind = chain(range(at + 1, FIRST + 50), range(FIRST, at + 1))
        expected = next((port for port in behind if port not in used), None)
        taken = here.take(NAME, 0)
        assert (port_of(taken) if taken else None) == expected
        if expected is not None:
            at = expected
            used.add(at)


def test_a_restart_begins_elsewhere() -> None:
    assert len({port_of(SourcePorts().take(NAME, now_s)) for now_s in range(50)}) > 40


def test_the_order_stays_lap_after_lap() -> None:
    here = SourcePorts()
    laps = [[here.take(NAME, 0) for _ in range(COUNT)]]
    for _ in range(2):
        for name in laps[-1]:
            assert name is not None
            here.give_back(name)
        laps.append([here.take(NAME, 0) for _ in range(COUNT)])
    assert laps[0] == laps[1] == laps[2]


def name_of(number: int) -> bytes:
    """Return the name of a flow to one of many ports of the server."""
    return NAME[:32] + number.to_bytes(2, "big") + NAME[34:]


def swept(here: SourcePorts, now_s: int) -> None:
    """Look at every ring once."""
    for _ in range(2):  # one call may only note that the last sweep is over
        here.expire(now_s, ports.MAX_RINGS + 1)


def test_a_ring_costs_little_at_first_and_never_much() -> None:
    here, sizes = SourcePorts(), []
    for _ in range(COUNT):
        assert here.take(NAME, 0)
        (ring,) = here.by_name.values()
        sizes.append(sys.getsizeof(ring) + sys.getsizeof(ring.used))
    assert sizes[0] < 200
    assert max(sizes) < 9000


def test_there_are_so_many_rings_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "MAX_RINGS", 10)
    here = SourcePorts()
    taken = [here.take(name_of(number), 0) for number in range(10)]
    assert all(taken)
    assert here.take(name_of(10), 0) is None
    assert here.take(name_of(9), 0) is not None  # those that there are go on
    assert taken[0]
    here.give_back(taken[0])
    swept(here, 0)
    assert here.take(name_of(10), REST_S - 1) is None
    swept(here, REST_S)
    assert here.take(name_of(10), REST_S) is not None


def test_a_ring_is_forgotten_only_when_no_server_remembers_its_ports() -> None:
    here = SourcePorts()
    first = here.take(NAME, 0)
    assert first
    swept(here, 1000)  # in use
    here.give_back(first)
    swept(here, 1000)
    swept(here, 1000 + REST_S - 1)
    second = here.take(NAME, 1000 + REST_S - 1)
    assert second and second != first
    here.give_back(second)
    swept(here, 1000 + REST_S)  # not used for a minute from now on, not from the first time
    swept(here, 1000 + 2 * REST_S - 1)
    assert len(here.by_name) == 1
    swept(here, 1000 + 2 * REST_S)
    assert not here.by_name


def test_a_port_is_not_given_twice_in_a_second_however_many_rings_come_and_go() -> None:
    here, given = SourcePorts(), []
    for number in range(300):
        for name in (NAME, name_of(1000 + number)):
            taken = here.take(name, 5)
            assert taken
            here.give_back(taken)
            given.append(taken)
        here.expire(5)
    assert len(set(given)) == len(given)


def test_a_sweep_looks_at_a_bounded_number_of_rings_and_comes_round() -> None:
    here = SourcePorts()
    for number in range(100):
        taken = here.take(name_of(number), 0)
        assert taken
        here.give_back(taken)
    here.expire(0, 30)  # begins
    for now_s in (0, 0, 0, 0, REST_S):
        here.expire(now_s, 30)
    assert len(here.by_name) == 70

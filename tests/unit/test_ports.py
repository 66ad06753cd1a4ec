"""Is a source port never given twice at a time, and does one given back rest for as long as it can?"""

from __future__ import annotations

from dsrlb import ports
from dsrlb.ports import COUNT, FIRST, LAST, SourcePorts

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


def test_of_the_ports_given_back_the_first_is_taken_first_and_only_after_all_that_were_never_used() -> None:
    here = SourcePorts()
    first, second = (here.take(NAME, 0) for _ in range(2))
    assert first and second
    here.give_back(second)
    here.give_back(first)
    for _ in range(COUNT - 2):
        assert here.take(NAME, 0) not in (first, second)
    assert [here.take(NAME, 0) for _ in range(3)] == [second, first, None]


def test_a_restart_begins_elsewhere() -> None:
    assert len({port_of(SourcePorts().take(NAME, now_s)) for now_s in range(50)}) > 40


def test_rings_that_nobody_uses_are_forgotten_and_those_in_use_are_not() -> None:
    here = SourcePorts()
    kept = here.take(NAME, 0)
    for number in range(ports.MAX_IDLE_RINGS + 10):
        taken = here.take(number.to_bytes(16, "big") + NAME[16:], 0)
        assert taken is not None
        here.give_back(taken)
    assert len(here._rings) <= ports.MAX_IDLE_RINGS
    assert kept is not None
    here.give_back(kept)

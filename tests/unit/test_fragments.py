"""Do the pieces of a datagram stay together, in bounded memory and time?"""

from __future__ import annotations

from dsrlb.fragments import HELD_OVERHEAD_BYTES, HOLD_S, MAX_HELD_PIECES, REMEMBER_S, FragmentTable
from dsrlb.wire.packet import Arrival, Packet

OWNER, OTHER = (b"service", b"backend 1"), (b"service", b"backend 2")
KEY, NEXT = b"datagram 1", b"datagram 2"


def piece(number: int, size_bytes: int = 100) -> Arrival:
    return Arrival(bytes([number]) * size_bytes, 1, 14, Packet(b"", b"", 17, 34, size_bytes, None))


def test_a_later_piece_finds_the_backend_of_the_first_one() -> None:
    table = FragmentTable()
    assert table.owner(KEY, 0) is None
    assert table.remember(KEY, OWNER, 0) == []
    assert table.owner(KEY, 0) == OWNER
    assert table.owner(NEXT, 0) is None


def test_a_datagram_is_remembered_for_thirty_seconds() -> None:
    table = FragmentTable()
    table.remember(KEY, OWNER, 100)
    assert table.owner(KEY, 100 + REMEMBER_S) == OWNER
    assert table.owner(KEY, 101 + REMEMBER_S) is None
    assert table.expire(101 + REMEMBER_S) == 0  # no piece was waiting
    table.hold(KEY, piece(1), 101 + REMEMBER_S)
    assert table.remember(KEY, OTHER, 101 + REMEMBER_S) == [piece(1)]


def test_pieces_that_overtake_the_first_one_are_set_free_by_it_once_and_in_order() -> None:
    table = FragmentTable()
    held = [piece(3), piece(1), piece(2)]
    assert all(table.hold(KEY, each, 0) for each in held)
    table.hold(NEXT, piece(9), 0)
    assert table.remember(KEY, OWNER, 1) == held
    assert table.remember(KEY, OWNER, 1) == []
    assert table.held_bytes == 100 + HELD_OVERHEAD_BYTES
    assert table.owner(KEY, 1) == OWNER


def test_a_first_piece_that_comes_again_can_move_its_datagram() -> None:
    table = FragmentTable()
    table.remember(KEY, OWNER, 0)
    table.remember(KEY, OTHER, 0)
    assert table.owner(KEY, 0) == OTHER


def test_pieces_whose_first_one_does_not_come_are_given_up_and_counted() -> None:
    table = FragmentTable()
    for number in range(3):
        table.hold(KEY, piece(number), 0)
    table.hold(NEXT, piece(9), 2)
    assert table.expire(HOLD_S) == 0
    assert table.expire(HOLD_S + 1) == 3
    assert table.held_bytes == 100 + HELD_OVERHEAD_BYTES
    assert table.expire(HOLD_S + 3) == 1
    assert table.held_bytes == 0


def test_a_piece_that_comes_after_its_datagram_was_given_up_waits_its_full_time() -> None:
    """The time was up, and expiry has not looked yet: an identification that is used again."""
    table = FragmentTable()
    table.hold(KEY, piece(1), 0)
    assert table.hold(KEY, piece(2), HOLD_S + 1)
    table.expire(HOLD_S + 1)
    assert piece(2) in table.remember(KEY, OWNER, HOLD_S + 2)


def test_no_more_bytes_are_held_than_allowed() -> None:
    table = FragmentTable(max_held_bytes=10_000)
    taken = sum(table.hold(number.to_bytes(4, "big"), piece(1), 0) for number in range(1000))
    assert 0 < taken < 1000
    assert table.held_bytes <= 10_000
    table.expire(HOLD_S + 1)
    assert table.held_bytes == 0
    assert table.hold(KEY, piece(1), HOLD_S + 1)


def test_no_more_pieces_of_one_datagram_wait_than_it_can_have() -> None:
    table = FragmentTable()
    assert sum(table.hold(KEY, piece(1), 0) for _ in range(1000)) == MAX_HELD_PIECES
    assert len(table.remember(KEY, OWNER, 0)) == MAX_HELD_PIECES


def test_no_more_datagrams_are_known_than_allowed() -> None:
    table = FragmentTable(max_datagrams=10)
    for number in range(20):
        table.remember(number.to_bytes(4, "big"), OWNER, 0)
    known = [number for number in range(20) if table.owner(number.to_bytes(4, "big"), 0)]
    assert known == list(range(10))
    assert not table.hold(KEY, piece(1), 0)
    table.expire(REMEMBER_S + 1)
    assert table.hold(KEY, piece(1), REMEMBER_S + 1)
    assert table.remember(KEY, OWNER, REMEMBER_S + 1) == [piece(1)]


def test_a_full_table_still_sets_free_what_waited_and_then_remembers_in_its_place() -> None:
    table = FragmentTable(max_datagrams=1)
    table.hold(KEY, piece(1), 0)
    assert not table.hold(NEXT, piece(2), 0)
    assert table.hold(KEY, piece(3), 0)
    assert table.remember(KEY, OWNER, 0) == [piece(1), piece(3)]
    assert table.owner(KEY, 0) == OWNER

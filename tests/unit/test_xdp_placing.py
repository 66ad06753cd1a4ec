"""Is every key in one of its two buckets, and is it found there while others move?"""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsrlb.bpf.compile import FOLDER
from dsrlb.engines.xdp import layout
from dsrlb.engines.xdp.placing import Place, Places, buckets_for, buckets_of, filter_of, hash_of_place
from dsrlb.engines.xdp.room import Extent, Room
from dsrlb.engines.xdp.sizes import sizes_for
from dsrlb.table import EMPTY

keys = st.binary(min_size=20, max_size=20)
changes = st.lists(st.tuples(st.booleans(), st.integers(0, 19)), max_size=60)


def key(number: int) -> bytes:
    return number.to_bytes(20, "big")


@given(changes)
def test_a_key_is_in_one_of_its_two_buckets_and_two_are_never_in_one_place(
    steps: list[tuple[bool, int]],
) -> None:
    places, there = Places(8, layout.FRONT_WAYS), set[bytes]()
    for adds, number in steps:
        if adds and key(number) not in there and places.add(key(number)) is not None:
            there.add(key(number))
        elif not adds and key(number) in there:
            places.remove(key(number))
            there.remove(key(number))
    assert places.of.keys() == there
    assert len(set(places.of.values())) == len(there)
    assert all(place.bucket in buckets_of(one, places.mask) for one, place in places.of.items())


@given(st.sets(st.integers(0, 1000), max_size=16))
def test_whoever_moves_goes_to_a_free_place_and_the_new_key_comes_last(numbers: set[int]) -> None:
    places, at = Places(8, layout.FRONT_WAYS), dict[Place, bytes]()
    for number in sorted(numbers):
        moves = places.add(key(number))
        if moves is None:
            continue
        assert moves[-1].key == key(number)
        for move in moves:
            assert move.after not in at, "a key was overwritten"
            assert (move.before is None) == (move is moves[-1])
            if move.before is not None:
                assert at.pop(move.before) == move.key
            at[move.after] = move.key
    assert {one: place for place, one in at.items()} == places.of


def test_few_keys_move_where_half_the_ways_are_free() -> None:
    places = Places(1024, layout.FRONT_WAYS)
    moves = [places.add(key(number)) for number in range(1024)]
    assert None not in moves
    assert max(len(one or []) for one in moves) <= 4


@pytest.mark.parametrize("count", [0, 1, 3, 1000])
def test_there_is_room_for_as_many_keys_again(count: int) -> None:
    wanted = [key(number) for number in range(count)]
    buckets = buckets_for(wanted, layout.FRONT_WAYS)
    places = Places(buckets, layout.FRONT_WAYS)
    assert all(places.add(key(number)) is not None for number in range(2 * count))


def test_the_bits_of_a_filter_are_those_of_its_addresses() -> None:
    addresses = [key(number)[4:] for number in range(3)]
    words = filter_of(addresses)
    bits = {hash_of_place(one) >> 57 for one in addresses}
    assert {bit for bit in range(128) if words[bit >> 6] >> (bit & 63) & 1} == bits


def test_buckets_and_filter_bits_are_read_from_the_hash_as_the_program_does() -> None:
    text = (FOLDER / "xdp" / "hash.h").read_text()
    shifts = dict(re.findall(r"#define (\w+)\(hash.*?>> (\d+)\)", text))
    hashed = hash_of_place(key(5))
    first, second = (hashed >> int(shifts[name]) & 0xFF for name in ("FIRST_BUCKET", "SECOND_BUCKET"))
    assert buckets_of(key(5), 0xFF) == (first, second)
    assert shifts["FILTER_BIT"] == "57"


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 200)), max_size=40))
def test_room_that_is_taken_is_nobody_elses_and_all_of_it_comes_back(steps: list[tuple[bool, int]]) -> None:
    room, taken = Room(16), list[Extent]()
    for takes, number in steps:
        if takes and (extent := room.take(number)):
            assert extent.first % layout.SLOTS_A_LINE == 0
            assert extent.end <= 16 * layout.SLOTS_A_LINE
            assert all(extent.end <= one.first or one.end <= extent.first for one in taken)
            taken.append(extent)
        elif taken and not takes:
            room.give(taken.pop(number % len(taken)))
    again = Room(16, taken)
    assert again.take(16 * layout.SLOTS_A_LINE) is None or not taken
    for extent in taken:
        room.give(extent)
    assert room.take(16 * layout.SLOTS_A_LINE) == Extent(0, 16 * layout.SLOTS_A_LINE)


def test_a_million_flows_take_128_mib_and_two_for_their_marks() -> None:
    sizes = sizes_for(EMPTY, max_flows=1_000_000)
    assert sizes.max_flows >= 1_000_000
    assert sizes.flows * layout.FLOW_BUCKET.itemsize == 128 << 20
    assert sizes.flows * layout.FLOW_MARKS.itemsize == 2 << 20

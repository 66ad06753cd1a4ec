"""Laws of the schedulers, for any backends and weights."""

from __future__ import annotations

from math import gcd

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from dsrlb.schedulers import HASH, MAGLEV, RR, SCHEDULERS, WRR
from dsrlb.schedulers.shares import apportion, consistent_slots, populate

PRIMES = (2, 3, 5, 7, 11, 101, 251, 503)

weights_of_few = st.lists(st.integers(0, 12), max_size=12)
live_weights = st.lists(st.integers(1, 40), min_size=1, max_size=12)
backends = st.dictionaries(st.binary(min_size=16, max_size=16), st.integers(0, 9), min_size=1, max_size=12)


def names(count: int) -> list[bytes]:
    return [number.to_bytes(16, "big") for number in range(count)]


@settings(max_examples=25)  # whole tables
@given(weights_of_few)
def test_slots_name_backends_with_a_weight_and_all_of_them(weights: list[int]) -> None:
    live = {index for index, weight in enumerate(weights) if weight}
    for scheduler in SCHEDULERS:
        slots = scheduler.compile(names(len(weights)), weights)
        assert slots.dtype == np.uint16
        assert set(slots.tolist()) == live, scheduler.name


@given(backends, st.randoms(use_true_random=False))
def test_the_order_of_backends_is_nothing_to_hash_and_maglev(  # type: ignore[no-untyped-def]
    weight_of: dict[bytes, int], draw
) -> None:
    one, other = list(weight_of), list(weight_of)
    draw.shuffle(other)
    first = consistent_slots(one, [weight_of[name] for name in one], 251)
    second = consistent_slots(other, [weight_of[name] for name in other], 251)
    assert [one[index] for index in first] == [other[index] for index in second]
    assert HASH.compile is MAGLEV.compile is consistent_slots


@given(st.integers(1, 251), st.integers(1, 1000))
def test_equal_weights_get_equal_shares_within_one_slot(count: int, weight: int) -> None:
    counts = np.bincount(consistent_slots(names(count), [weight] * count, 251), minlength=count)
    assert counts.max() - counts.min() <= 1
    assert counts.sum() == 251


@given(st.lists(st.integers(1, 20), min_size=1, max_size=12))
def test_a_share_is_in_proportion_to_its_weight_within_one_slot(weights: list[int]) -> None:
    counts = np.bincount(consistent_slots(names(len(weights)), weights, 503), minlength=len(weights))
    assert np.all(np.abs(counts - 503 * np.array(weights) / sum(weights)) < 1)


@given(live_weights, st.integers(0, 1000))
def test_apportioned_shares_add_up_and_none_is_empty(weights: list[int], extra: int) -> None:
    shares = apportion(weights, len(weights) + extra)
    assert sum(shares) == len(weights) + extra
    assert min(shares) >= 1
    assert all(a <= b for (w, a) in zip(weights, shares, strict=True)
               for (v, b) in zip(weights, shares, strict=True) if w < v)  # fmt: skip


@given(st.data())
def test_rounds_and_tail_fill_the_table_as_one_turn_after_another_does(data: st.DataObject) -> None:
    size = data.draw(st.sampled_from(PRIMES))
    count = data.draw(st.integers(1, min(size, 60)))
    offsets = data.draw(st.lists(st.integers(0, size - 1), min_size=count, max_size=count))
    skips = data.draw(st.lists(st.integers(1, size - 1), min_size=count, max_size=count))
    draw = data.draw(st.randoms(use_true_random=False))
    order = [draw.randrange(count) for _ in range(size)]
    serial, taken = [-1] * size, [0] * count
    for backend in order:
        while serial[(offsets[backend] + taken[backend] * skips[backend]) % size] >= 0:
            taken[backend] += 1
        serial[(offsets[backend] + taken[backend] * skips[backend]) % size] = backend
    tail = data.draw(st.integers(0, size))
    for round_turns in (0, size + 1):  # always by rounds; never
        assert populate(offsets, skips, order, tail, round_turns).tolist() == serial


@given(weights_of_few)
def test_rr_gives_one_slot_each_in_order(weights: list[int]) -> None:
    live = [index for index, weight in enumerate(weights) if weight]
    assert RR.compile(names(len(weights)), weights).tolist() == live


@given(live_weights)
def test_a_cycle_of_wrr_has_each_backend_as_often_as_its_reduced_weight(weights: list[int]) -> None:
    slots = WRR.compile(names(len(weights)), weights)
    assert np.bincount(slots).tolist() == [weight // gcd(*weights) for weight in weights]


@given(live_weights)
def test_wrr_is_within_one_of_the_ideal_from_the_start_and_two_in_any_window(weights: list[int]) -> None:
    slots = WRR.compile(names(len(weights)), weights)
    for index, weight in enumerate(weights):
        served = np.concatenate(([0], np.cumsum(np.tile(slots == index, 2))))
        lead = served * sum(weights) - np.arange(len(served)) * weight  # times the sum: whole numbers
        assert np.abs(lead).max() < sum(weights)
        assert lead.max() - lead.min() < 2 * sum(weights)

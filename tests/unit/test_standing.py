"""Does what health and operators say come to the right weights, and grow as it should?"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import balancer
import pytest

from dsrlb.model import Service
from dsrlb.standing import (
    AS_CONFIGURED,
    CONFIGURED,
    Effective,
    Health,
    Names,
    Standing,
    Wish,
    after,
    effective,
    grown_percent,
    named,
)
from dsrlb.table import CompiledService, compile_table

(WEB,) = balancer.services(
    ["198.18.1.100:80"], ["198.18.1.11", "198.18.1.12,weight=4", "198.18.1.13,weight=0"]
)
ONE, TWO, THREE = (names for names, _ in named(WEB))
DOWN = Standing(up=False, why="refused")


def compiled(service: Service, standings: dict[Names, Standing]) -> CompiledService:
    given = replace(service, backends=tuple(replace(one, mac=bytes(6)) for one in service.backends))
    table = compile_table([given], balancer.hops(given.backends), {}, effective=effective([given], standings))
    return next(iter(table.services.values()))


def shares(scheduler: str, standings: dict[Names, Standing]) -> tuple[int, ...]:
    return compiled(replace(WEB, scheduler=scheduler), standings).shares


def test_without_standings_all_is_as_configured() -> None:
    assert effective([WEB], {}) == Effective() == effective([WEB], {ONE: AS_CONFIGURED, TWO: AS_CONFIGURED})


def test_the_operator_s_weight_holds_and_drained_is_weight_0() -> None:
    said = effective([WEB], {ONE: Standing(weight=7), TWO: Standing(drained=True, weight=7)})
    assert said == Effective(weights={ONE: 7, TWO: 0})


def test_down_and_disabled_are_down_as_long_as_another_takes_new_flows() -> None:
    assert effective([WEB], {ONE: DOWN}).down == {ONE}
    assert effective([WEB], {ONE: Standing(enabled=False)}).down == {ONE}
    assert shares("wrr", {ONE: DOWN}) == (0, 4, 0)


@pytest.mark.parametrize(("fate", "down"), [("keep", set()), ("reject", {ONE, TWO}), ("drop", {ONE, TWO})])
def test_when_all_that_are_to_take_new_flows_are_down_the_service_says_what_becomes_of_them(
    fate: Any, down: set[Names]
) -> None:
    service = replace(WEB, on_all_down=fate)
    assert effective([service], {ONE: DOWN, TWO: DOWN}).down == down  # a third one has no weight
    assert compiled(service, {ONE: DOWN, TWO: DOWN}).refuses is (fate == "reject")
    assert not compiled(service, {ONE: DOWN}).refuses


def test_kept_are_those_that_health_calls_down_and_never_those_that_the_operator_disabled() -> None:
    assert effective([WEB], {ONE: DOWN, TWO: Standing(enabled=False)}).down == {TWO}
    assert shares("wrr", {ONE: DOWN, TWO: Standing(enabled=False)}) == (1, 0, 0)


def test_a_down_backend_stays_a_target_with_its_hop() -> None:
    target = compiled(WEB, {TWO: DOWN}).by_key[TWO[1]]
    assert (target.up, target.hop is not None, target.weight) == (False, True, 4)


@pytest.mark.parametrize(
    ("scheduler", "expected"),
    [("wrr", (100, 80, 0)), ("wlc", (100, 80, 0)), ("rr", (100, 20, 0)), ("lc", (100, 20, 0))],
)
def test_a_backend_that_starts_slowly_has_hundredths_of_its_weight(
    scheduler: str, expected: tuple[int, ...]
) -> None:
    assert shares(scheduler, {TWO: Standing(share_percent=20)}) == expected


def test_methods_without_weights_share_by_weight_while_one_starts_slowly() -> None:
    slow = compiled(replace(WEB, scheduler="rr"), {TWO: Standing(share_percent=20)})
    assert list(slow.slots).count(0) == 5 * list(slow.slots).count(1)


def test_slots_do_not_change_when_all_start_alike() -> None:
    alike = {names: Standing(share_percent=20) for names in (ONE, TWO, THREE)}
    assert compiled(WEB, alike).slots == compiled(WEB, {}).slots


def test_what_is_said_of_a_backend_changes_that_alone() -> None:
    was = Standing(up=False, why="refused", drained=True, weight=3)
    assert after(was, Health(True, "all is well")) == Standing(drained=True, weight=3)
    assert after(was, Wish(drained=False)) == replace(was, drained=False)
    assert after(was, Wish(enabled=False)) == replace(was, enabled=False)
    assert after(was, Wish(weight=0)) == replace(was, weight=0)
    assert after(was, Wish(weight=CONFIGURED)) == replace(was, weight=None)


def test_a_share_grows_from_the_first_moment_to_the_whole_in_even_steps() -> None:
    assert [grown_percent(age, 8, 4) for age in (-1, 0, 1.9, 2, 4, 6, 7.9, 8)] == [
        20,
        20,
        20,
        40,
        60,
        80,
        80,
        100,
    ]
    for lasts_s in range(1, 20):
        grown = [grown_percent(age, lasts_s, 99) for age in range(lasts_s + 1)]
        assert grown == sorted(set(grown)) and grown[0] > 0
        assert not any(percent % 5 for percent in grown)
    assert {grown_percent(age, 3600, 99) for age in range(3600)} == set(range(5, 100, 5))


def test_shares_are_scaled_down_where_their_sum_would_not_fit_into_32_bits() -> None:
    many = [f"198.18.{4 + n // 250}.{1 + n % 250},weight=65535" for n in range(1000)]
    (service,) = balancer.services(["198.18.1.100:80"], many, "wlc")
    last = [names for names, _ in named(service)][-1]
    shares = compiled(service, {last: Standing(share_percent=5)}).shares
    assert sum(shares) < 1 << 32
    assert max(shares) // 20 <= min(shares) <= max(shares) // 20 + 1

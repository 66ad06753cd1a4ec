"""Does a plan say what then happens?"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import balancer
import pytest
from packets import BACKENDS, VIP, VIP6, tcp

from dsrlb.config import Config
from dsrlb.control.planned import AT_MOST, ON_RECORD, UNKNOWN, service_rows
from dsrlb.control.planned_slots import moved_rows
from dsrlb.flows import BackendCount
from dsrlb.model import Backend, ModeOptions, Persist, Service
from dsrlb.standing import Effective, key_of, named
from dsrlb.state import State
from dsrlb.table import ForwardingTable, compile_table

FLOWS = 3000


def service(*weights: int, scheduler: str = "maglev", vip: str = f"{VIP}:80", **fields: Any) -> Service:
    """Return a service whose n-th backend has the n-th weight; -1: it is not there."""
    (made,) = balancer.services([vip], scheduler=scheduler)
    backends = zip(made.backends, weights, strict=False)
    kept = tuple(replace(one, weight=weight) for one, weight in backends if weight >= 0)
    return replace(made, backends=kept, **fields)


def compiled(*services: Service) -> ForwardingTable:
    behind = [one for service in services for one in service.backends]
    return compile_table(services, balancer.hops(behind), {balancer.IFINDEX: balancer.BALANCER})


def planned(before: Service, after: Service, counts: dict[Any, BackendCount] | None = None) -> dict[str, Any]:
    rows = service_rows(
        Config((before,)),
        Config((after,)),
        compiled(before).services,
        compiled(after).services,
        counts or {},
    )
    (row,) = [one for one in rows if one["change"] != "removed"] or rows
    return row


def servers(of: Service) -> list[str]:
    """Return the backend that each of many new flows gets, by the data path."""
    table, state = compiled(of), State()
    frames = [tcp(sport=10_000 + number, flags="S") for number in range(FLOWS)]
    return [balancer.backend_of(one) for one in balancer.feed(frames, table, state)]


@pytest.mark.parametrize("seed", range(6))
def test_the_slots_that_are_to_move_are_the_flows_that_go_elsewhere(seed: int) -> None:
    chance = random.Random(seed)
    weights = [[chance.choice((-1, 0, 1, 2, 5)) for _ in range(2)] for _ in range(2)]
    before, after = (service(1, *some) for some in weights)
    row = planned(before, after) if before != after else {"slots_moved": 0, "moved_percent": 0.0}
    was, is_now = servers(before), servers(after)
    percent = 100 * sum(one != other for one, other in zip(was, is_now, strict=True)) / FLOWS
    assert percent == pytest.approx(row["moved_percent"], abs=3)
    (then,) = moved_rows(compiled(before).services, compiled(after).services) or [{"slots_moved": 0}]
    assert then["slots_moved"] == row["slots_moved"]


def test_the_same_change_the_other_way_round_moves_the_same_slots() -> None:
    few, many = service(1, 1), service(1, 1, 1)
    assert planned(few, many)["slots_moved"] == planned(many, few)["slots_moved"] > 65_537 / 3 - 100


def test_a_drain_moves_the_slots_of_its_server_and_no_flow() -> None:
    row = planned(service(1, 1, 1), service(1, 1, 0), counts(service(1, 1, 1), flows=7))
    third = row["backends"][2]
    assert (third["change"], third["what"], third["slots"]) == ("changed", ["weight 0, before 1"], 0)
    assert row["slots_moved"] >= third["slots_before"] > 0
    assert (row["flows_moved"], row["flows_moved_percent"]) == (0, 0)


def test_between_two_hashes_flows_keep_their_server_by_chance_alone() -> None:
    before, after = service(1, 1), service(1, 1, scheduler="hash")
    row = planned(before, after)
    assert (row["slots_moved"], row["moved_percent"]) == (None, 50)
    assert row["what"] == ["scheduler hash, before maglev"]


@pytest.mark.parametrize("scheduler", ["rr", "wrr", "lc", "wlc"])
def test_where_servers_take_turns_what_one_has_more_others_have_less(scheduler: str) -> None:
    assert planned(service(1, scheduler=scheduler), service(1, 1, scheduler=scheduler))["moved_percent"] == 50


# ----------------------------------------------------------------------------- flows under way


def counts(of: Service, **each: int) -> dict[Any, BackendCount]:
    return {names: BackendCount(**each) for names, _ in named(of)}


def test_flows_of_servers_that_are_removed_move_and_no_others() -> None:
    before, after = service(1, 1, 1, scheduler="wlc"), service(1, -1, 1, scheduler="wlc")
    there = counts(before, active=5, inactive=2, flows=999)
    row = planned(before, after, there)
    assert (row["flows"], row["flows_moved"], row["flows_are"]) == (21, 7, ON_RECORD)
    assert row["flows_moved_percent"] == pytest.approx(33.3)
    stays = planned(before, service(9, 9, 9, scheduler="maglev"), there)
    assert (stays["flows"], stays["flows_moved"]) == (21, 0)


def test_where_no_flow_is_on_record_there_are_no_more_than_have_begun_and_of_udp_nobody_knows() -> None:
    before, after = service(1, 1, 1), service(1, 1)
    row = planned(before, after, counts(before, flows=10))
    assert (row["flows"], row["flows_moved"], row["flows_are"]) == (30, 10, AT_MOST)
    assert row["flows_moved_percent"] == pytest.approx(33.3, abs=0.1)
    udp = [service(*some, vip=f"{VIP}:53/udp") for some in ((1, 1), (1,))]
    row = planned(*udp, counts(udp[0], packets=10))
    assert (row["flows"], row["flows_moved"], row["flows_are"]) == (None, None, UNKNOWN)
    assert row["flows_moved_percent"] == pytest.approx(50, abs=0.1)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"mode": "l2dsr"}, {"mode": "l3dsr"}),
        ({"mode": "inline"}, {"mode": "inline", "options": ModeOptions(snat=True)}),
    ],
)
def test_all_flows_move_where_their_way_is_another(before: dict[str, Any], after: dict[str, Any]) -> None:
    one, other = (service(1, 1, scheduler="rr", **fields) for fields in (before, after))
    assert planned(one, other, counts(one, active=3))["flows_moved"] == 6


def test_a_service_that_is_removed_ends_all_its_flows_and_one_that_is_new_has_none() -> None:
    one, other = service(1, scheduler="rr"), service(1, scheduler="rr", vip=f"{VIP}:81")
    there = counts(one, active=4)
    tables = compiled(one).services, compiled(other).services
    added, removed = service_rows(Config((one,)), Config((other,)), *tables, there)
    assert (added["change"], added["flows"]) == ("added", 0)
    assert (removed["change"], removed["flows_moved"]) == ("removed", 4)


# ----------------------------------------------------------------------------- balance and sizes


def test_what_begins_with_more_than_its_share_is_told() -> None:
    before, after = service(1, 1, scheduler="lc"), service(1, 1, 1, scheduler="lc")
    row = planned(before, after, counts(before, active=30))
    assert row["busiest"]["backend"] in BACKENDS
    assert row["busiest"]["of_its_share_percent"] == pytest.approx(150, abs=1)
    assert 0 <= row["imbalance_percent"] < 0.01


@pytest.mark.parametrize(("vip", "overhead", "mss"), [(f"{VIP}:80", 20, 1440), (f"[{VIP6}]:80", 20, 1420)])
def test_a_mode_that_wraps_leaves_less_for_clients(vip: str, overhead: int, mss: int) -> None:
    before, after = (service(1, 1, vip=vip, mode=mode) for mode in ("l2dsr", "l3dsr"))
    row = planned(before, after)
    assert (row["fits_bytes_before"], row["fits_bytes"]) == (1500, 1500 - overhead)
    assert (row["mss_before"], row["mss"]) == (mss + overhead, mss)
    assert row["server_set_up"]


def test_what_is_another_is_told_in_the_words_of_the_file() -> None:
    before = service(1)
    after = replace(
        before,
        label="web",
        persist=Persist(300),
        slow_start_s=30,
        options=ModeOptions(clamp_mss=True),
        backends=(Backend(before.backends[0].address, mac=None),),
    )
    row = planned(before, after)
    assert row["what"] == [
        "persist 300/32 (IPv6 /128), before none",
        "name web, before none",
        "slow_start 30, before 0",
        "clamp_mss true, before false",
    ]
    assert row["backends"][0]["what"][0].startswith("mac none, before 02:")


def test_services_that_stay_as_they_are_have_no_row() -> None:
    one = service(1, 1)
    tables = compiled(one).services, compiled(one).services
    assert service_rows(Config((one,)), Config((one,)), *tables, {}) == []
    assert key_of(one) in tables[0]


def by_backend(row: dict[str, Any], word: str) -> Sequence[Any]:
    return [one[word] for one in row["backends"]]


def test_shares_and_slots_of_each_server_stand_beside_those_of_before() -> None:
    row = planned(service(1, 1), service(1, -1, 3))
    assert by_backend(row, "change") == ["same", "added", "removed"]
    assert by_backend(row, "share_before_percent") == [50, 0, 50]
    assert by_backend(row, "share_percent") == [25, 75, 0]
    assert sum(by_backend(row, "slots")) == sum(by_backend(row, "slots_before")) == 65_537


def test_a_server_that_starts_slowly_has_what_it_begins_with_beside_what_it_comes_to() -> None:
    before, after = service(1, scheduler="wrr"), service(1, 1, scheduler="wrr")
    second = list(named(after))[1][0]
    behind = balancer.hops(after.backends)
    starting = compile_table([after], behind, {}, effective=Effective(percents={second: 25}))
    configs, tables = (Config((before,)), Config((after,))), (compiled(before).services, starting.services)
    (row,) = service_rows(*configs, *tables, {})
    assert by_backend(row, "share_percent") == [80, 20]
    assert by_backend(row, "settled_percent") == [50, 50]


INLINE, SNAT = {"mode": "inline"}, {"mode": "inline", "options": ModeOptions(snat=True)}


@pytest.mark.parametrize(
    ("before", "after", "is_told"),
    [
        ({"mode": "l2dsr"}, {"mode": "l3dsr"}, True),
        ({"mode": "l2dsr"}, INLINE, True),
        ({"mode": "l2dsr"}, SNAT, False),
        (SNAT, INLINE, True),
        (INLINE, SNAT, False),
        ({"mode": "l3dsr"}, {"mode": "l3dsr", "scheduler": "rr"}, False),
        ({"mode": "l3dsr"}, {"mode": "l3dsr", "options": ModeOptions(encap="gue")}, True),
    ],
)
def test_that_servers_are_to_be_set_up_is_told_where_the_new_way_asks_it_of_them(
    before: dict[str, Any], after: dict[str, Any], is_told: bool
) -> None:
    assert planned(service(1, 1, **before), service(1, 1, **after))["server_set_up"] is is_told

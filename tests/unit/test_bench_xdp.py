"""The benchmark of the XDP program: its frames and its arithmetic; its figures are nobody's test."""

from __future__ import annotations

import json

import numpy as np
import pytest

from dsrlb.bench.xdp import report
from dsrlb.bench.xdp.frames import frames
from dsrlb.bench.xdp.measure import Row
from dsrlb.bench.xdp.run import counts_for
from dsrlb.bench.xdp.scenarios import ALL, BACKENDS, BY_NAME, IFINDEX, SCENARIOS, Scenario, table
from dsrlb.datapath import process
from dsrlb.model import wire_address
from dsrlb.state import State

FLOWS = 64


def row(name: str, flows: int, floors: list[float], totals: list[float], fault: str = "") -> Row:
    return Row(BY_NAME[name], flows, tuple(floors), tuple(totals), fault)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda one: one.name)
def test_the_data_path_does_with_the_frames_what_the_scenario_says(scenario: Scenario) -> None:
    state, compiled = State(), table(scenario)
    for frame in frames(scenario.kind, wire_address(scenario.vip), FLOWS):
        action, reason, _, _ = process(frame.tobytes(), IFINDEX, compiled, state, 5)
        assert (action, reason) == (scenario.action, scenario.reason)
    assert sum(count.packets for count in state.backends.values()) == (FLOWS if scenario.is_sent else 0)


def test_every_flow_has_a_frame_of_its_own() -> None:
    scenario = BY_NAME["tcp-v4-ch"]
    made = frames(scenario.kind, wire_address(scenario.vip), 1 << 17)
    assert len(np.unique(made[:, 26:36], axis=0)) == len(made)


def test_a_scenario_has_as_many_backends_as_it_says() -> None:
    (service,) = table(BY_NAME["tcp-v4-ch"]).services.values()
    assert len(service.targets) == BACKENDS


def test_a_ratio_is_taken_within_a_repetition() -> None:
    one = row("tcp-v4-ch", 1, [10, 20, 40], [20, 40, 200])
    assert one.nets == (10, 20, 160)
    assert one.ratios == (1, 1, 4)
    assert (one.floor_ns, one.total_ns) == (20, 40)


def test_a_bar_is_held_against_the_median_ratio() -> None:
    assert row("tcp-v4-ch", 1, [10, 10, 10], [20, 26, 90]).is_met  # 1.6 at most
    assert not row("tcp-v4-ch", 1, [10, 10, 10], [20, 26.1, 90]).is_met
    assert row("tcp-v4-ch", 65_536, [10], [900]).is_met  # none is set


def test_a_row_that_is_not_what_it_is_called_meets_nothing() -> None:
    one = row("tcp-v4-ch", 1, [10], [11], fault="of 9 packets: 9 not_vip")
    assert not one.is_met
    assert "MISSED" in report.line(one)
    assert "not that: of 9 packets: 9 not_vip" in report.line(one)


def test_a_scenario_is_measured_with_the_numbers_of_flows_that_it_is_for() -> None:
    assert counts_for(BY_NAME["tcp-v4-ch"], (1, 4096, ALL), 1_000_000) == [1, 4096, ALL]
    assert counts_for(BY_NAME["pass-non-ip"], (4096,), 1_000_000) == (1,)
    assert counts_for(BY_NAME["tcp-v4-lru-miss"], (1,), 100_000) == (131_072,)
    assert counts_for(BY_NAME["tcp-v4-ch"], (1, ALL), 65_536) == [1]


def test_json_says_what_was_measured_and_where() -> None:
    told = json.loads(report.as_json([row("tcp-v4-ch", 1, [10], [20])]))
    assert told["machine"].keys() == {"kernel", "cpu", "cpus"}
    (one,) = told["rows"]
    assert (one["scenario"], one["flows"], one["net_by_floor"], one["met"]) == ("tcp-v4-ch", 1, 1, True)

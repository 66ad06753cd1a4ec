"""Does ``dsrlb bench`` time what it says?"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import pytest

from dsrlb.bench.xdp import contest
from dsrlb.bench.xdp.run import rows
from dsrlb.bench.xdp.scenarios import BY_NAME

FLOWS = 65_536  # that the table is made for
NAMES = (
    "tcp-v4-ch-l2dsr",
    "tcp-v4-ch",
    "tcp-v4-lru-hit",
    "tcp-v6-lru-hit",
    "tcp-v4-lru-miss",
    "pass-v4-no-vip",
)


@pytest.fixture(scope="module")
def measured():
    return {
        (row.scenario.name, row.flows): row
        for row in rows([BY_NAME[name] for name in NAMES], (1, 4096), 1, FLOWS)
    }


def test_packets_are_what_the_rows_are_called(measured) -> None:
    assert len(measured) == 2 * len(NAMES) - 1
    assert {key: row.fault for key, row in measured.items() if row.fault} == {}


def test_whatever_a_program_does_takes_longer_than_the_floor(measured) -> None:
    assert all(0 < row.floor_ns < row.total_ns for row in measured.values())


def test_a_label_that_is_not_true_is_found_out() -> None:
    wrong = replace(BY_NAME["pass-v4-no-vip"], to_vip=True)
    (row,) = rows([wrong], (1,), 1, FLOWS)
    assert "forwarded" in row.fault
    assert not row.is_met


def test_the_command_prints_figures_for_a_program() -> None:
    command = [sys.executable, "-m", "dsrlb", "bench", "--scenario", "tcp-v4-ch", "--flows", "1", "--json"]
    done = subprocess.run([*command, "--repetitions", "1"], capture_output=True, text=True, check=True)
    (row,) = json.loads(done.stdout)["rows"]
    assert row["net_ns"] > 0
    assert not row["fault"]


def test_either_flow_table_finds_what_it_holds_and_takes_what_is_new() -> None:
    measured = list(contest.rows((1, 4096), 1, FLOWS))
    assert [row.scenario.name for row in measured] == [
        f"table-{table}-{what}" for table in ("own", "lru") for what in ("hit", "hit", "new")
    ]
    assert not any(row.fault for row in measured)

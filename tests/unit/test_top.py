"""Does ``dsrlb top`` tell what happens between two looks, and stop when it is to?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from dsrlb.cli import asking as commands
from dsrlb.cli import cli
from dsrlb.cli import top as module
from dsrlb.cli.top import rates, short
from dsrlb.errors import DsrlbError

SERVICE = "198.18.1.100:80/tcp"
ROW: dict[str, Any] = {
    "service": SERVICE,
    "backend": "198.18.1.11",
    "name": "rs1",
    "standing": ["up"],
    "why": "",
    "ejected_left_s": None,
    "starting_percent": 100,
    "expected_percent": 50.0,
    "flows": 10,
    "active": 3,
    "packets": 100,
    "bytes": 10_000,
    "time_ms": 10.26,
    "response": None,
    "remaining": None,
    "drain": None,
    "drift": [],
}
OTHER = {**ROW, "backend": "198.18.1.12", "name": "rs2"}


def later(row: dict[str, Any], packets: int, flows: int) -> dict[str, Any]:
    """Return a row after so many more packets of 100 bytes, and so many flows."""
    more = {"packets": row["packets"] + packets, "bytes": row["bytes"] + 100 * packets}
    return {**row, **more, "flows": row["flows"] + flows}


def test_rates_are_what_came_between_by_the_time_between() -> None:
    first, second = rates([ROW, OTHER], [later(ROW, 40, 6), later(OTHER, 10, 2)], 2)
    assert (first["packets_per_s"], first["bits_per_s"], first["new_flows_per_s"]) == (20, 16_000, 3)
    assert (first["share_percent"], second["share_percent"]) == (75, 25)
    assert (first["active"], first["expected_percent"]) == (3, 50)


def test_the_share_is_of_packets_where_flows_are_not_counted() -> None:
    uncounted = [{**one, "flows": None} for one in (ROW, OTHER)]
    now = [{**later(ROW, 90, 0), "flows": None}, {**later(OTHER, 10, 0), "flows": None}]
    first, second = rates(uncounted, now, 1)
    assert first["new_flows_per_s"] is None
    assert (first["share_percent"], second["share_percent"]) == (90, 10)


def test_shares_are_of_each_service_alone_and_of_an_idle_one_unknown() -> None:
    dns = {**ROW, "service": "198.18.1.100:53/udp"}
    busy, idle = rates([ROW, dns], [later(ROW, 5, 5), dns], 1)
    assert (busy["share_percent"], idle["share_percent"]) == (100, None)


def test_who_is_new_or_counts_from_0_again_has_no_rate_yet() -> None:
    (new,) = rates([], [later(ROW, 5, 5)], 1)
    (again,) = rates([later(ROW, 5, 5)], [ROW], 1)
    assert new["packets_per_s"] == again["packets_per_s"] == 0


@pytest.mark.parametrize(
    ("value", "said"),
    [
        *((None, None), (0.0, "0"), (950.4, "950"), (999.7, "1k")),
        *((12_345.0, "12.3k"), (4.56e6, "4.56M"), (1.2e9, "1.2G")),
    ],
)
def test_a_rate_is_short(value: float | None, said: str | None) -> None:
    assert short(value) == said


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What was asked; each answer has 10 packets and 1 flow more than the one before."""
    asked: list[dict[str, Any]] = []

    def answer(_: Path, request: dict[str, Any]) -> Any:
        asked.append(request)
        return [later(ROW, 10 * len(asked), len(asked))]

    monkeypatch.setattr(commands, "ask_at", answer)
    monkeypatch.setattr(module.time, "sleep", lambda _: None)
    clock = iter(range(100))
    monkeypatch.setattr(module.time, "monotonic", lambda: next(clock))
    return asked


def test_it_asks_as_show_backends_does_and_prints_a_table_for_each_look(looks: list[dict[str, Any]]) -> None:
    done = CliRunner().invoke(cli, ["top", "--count", "2", "--service", "web"])
    assert done.exception is None, done.output
    assert looks == [{"do": "show", "what": "backends", "service": "web"}] * 3
    lines = done.stdout.splitlines()
    assert lines[0].split()[:5] == ["service", "backend", "name", "standing", "packets/s"]
    assert lines[1].split() == [
        *(SERVICE, "198.18.1.11", "rs1", "up", "10", "8k", "1", "3", "50.0%", "100.0%", "10.3", "ms"),
    ]
    assert lines.count(lines[0]) == 2


def test_it_goes_on_when_dsrlb_comes_back(
    looks: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = commands.ask_at

    def away_once(path: Path, request: dict[str, Any]) -> Any:
        if len(looks) == 2:
            looks.append({})
            raise DsrlbError("No dsrlb runs here.")
        return answer(path, request)

    monkeypatch.setattr(commands, "ask_at", away_once)
    done = CliRunner().invoke(cli, ["top", "--count", "2", "--json"])
    assert done.exception is None and len(done.stdout.splitlines()) == 2
    assert done.stderr == "dsrlb: No dsrlb runs here.\ndsrlb: it answers again\n"


def test_for_programs_each_look_is_a_line(looks: list[dict[str, Any]]) -> None:
    done = CliRunner().invoke(cli, ["top", "--count", "2", "--json"])
    said = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["packets_per_s"] for (row,) in said] == [10, 10]


def test_on_a_terminal_the_table_is_drawn_again_in_its_place(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "160")
    module._live(iter([rates([ROW], [later(ROW, 7000, 1)], 1)]))
    drawn = capsys.readouterr().out
    assert "7k" in drawn and "rs1" in drawn
    assert "\x1b[?25h" in drawn and drawn.endswith("\x1b[?1049l"), "cursor and screen are given back"


@pytest.mark.parametrize("words", [["--interval", "0"], ["--count", "0"]])
def test_what_cannot_be_is_a_usage_error(looks: list[dict[str, Any]], words: list[str]) -> None:
    assert CliRunner().invoke(cli, ["top", *words]).exit_code == 2 and not looks

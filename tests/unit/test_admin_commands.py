"""Do the commands ask for what was said, and print what was answered?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from dsrlb.cli import asking as commands
from dsrlb.cli import cli, tables

ROW = {
    "service": "198.18.1.100:80/tcp",
    "service_name": "web",
    "backend": "198.18.1.11",
    "name": "rs1",
    "standing": ["up"],
    "why": "",
    "ejected_left_s": None,
    "starting_percent": 100,
    "weight": 5,
    "weight_configured": 1,
    "expected_percent": 62.5,
    "share_percent": None,
    "flows": None,
    "active": None,
    "inactive": None,
    "packets": 12,
    "bytes": 3456,
    "time_ms": None,
    "response": None,
    "remaining": None,
    "drain": None,
    "drift": ["weight 5, file says 1"],
    "durable": [],
}
SERVICE = {
    "service": "198.18.1.100:80/tcp",
    "name": "web",
    "mode": "l2dsr",
    "scheduler": "wrr",
    "backends": 3,
    "taking_new_flows": 0,
    "fate": "refused",
    "flows": 9,
    "active": 2,
    "inactive": 1,
    "packets": 100,
    "bytes": 54_000,
    "response": None,
    "drifting": 1,
}
FLOW = {
    "client": "198.18.0.2:40000",
    "service": "198.18.1.100:80/tcp",
    "port": 80,
    "backend": "198.18.1.11",
    "name": "rs1",
    "state": "established",
    "ends_in_s": 899,
}
ENGINE = {
    "engine": "xdp",
    "instance": "default",
    "version": "0.1.0",
    "pid": 7,
    "interfaces": {"e0": "native"},
    "outlives_process": True,
    "services": 1,
    "backends": 3,
    "flows_on_record": 12,
    "max_flows": 1_000_000,
    "haproxy": None,
    "file": None,
}
FLOWS = {"complete": True, "unrecorded": [], "proxied": []}


class Asked:
    """Stands in for a running dsrlb: notes what it is asked and gives one answer."""

    def __init__(self) -> None:
        self.answer: Any = None
        self.path, self.request = Path(), {}

    def __call__(self, path: Path, request: dict[str, Any]) -> Any:
        self.path, self.request = path, request
        return self.answer


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    it = Asked()
    monkeypatch.setattr(commands, "ask_at", it)
    return it


def run(*words: str) -> Result:
    done = CliRunner().invoke(cli, words)
    assert done.exception is None, done.output
    return done


def cells(printed: str) -> list[list[str]]:
    """Return the cells of a table: columns are two blanks apart at least."""
    return [line.split() for line in printed.splitlines()]


def test_backends_are_a_table_with_what_differs_at_the_end(asked: Asked) -> None:
    asked.answer = [ROW]
    heading, row = run("show", "backends").stdout.splitlines()
    assert heading.split() == [
        *("service", "backend", "name", "standing", "weight", "expected", "share"),
        *("flows", "active", "packets", "bytes", "note"),
    ]
    assert row.split()[:11] == [
        *("198.18.1.100:80/tcp", "198.18.1.11", "rs1", "up", "5", "62.5%", "-", "-", "-", "12", "3456"),
    ]
    assert row.endswith("  weight 5, file says 1")


def test_a_backend_s_note_says_why_it_is_down_and_what_it_still_has(asked: Asked) -> None:
    asked.answer = [
        {**ROW, "standing": ["drained", "down"], "why": "no answer", "drift": [],
         "remaining": {"active": 1, "inactive": 2, "at_least": True}}
    ]  # fmt: skip
    printed = run("show", "backends").stdout
    assert "drained, down" in printed and "no answer; 1 active, 2 inactive flows left or more" in printed
    asked.answer = [{**ROW, "standing": ["starting"], "starting_percent": 40}]
    assert "starting (40%)" in run("show", "backends").stdout


def test_services_flows_counters_and_engines_are_tables(asked: Asked) -> None:
    asked.answer = [SERVICE]
    printed = run("show", "services").stdout
    assert "no backend for new flows: they are refused; 1 not as configured" in printed
    asked.answer = {
        "flows": [FLOW],
        "looked_at": 1,
        "complete": True,
        "on_record": 1,
        "unrecorded": [],
        "proxied": [],
    }
    done = run("show", "flows")
    assert cells(done.stdout)[1] == [str(value) for value in FLOW.values()] and not done.stderr
    asked.answer = [{"reason": "forwarded", "frames": 3}]
    assert cells(run("show", "counters").stdout) == [["reason", "frames"], ["forwarded", "3"]]
    asked.answer = [ENGINE]
    printed = run("show", "engines").stdout
    assert ["interfaces", "e0", "(native)"] in cells(printed) and ["outlives", "process", "yes"] in cells(
        printed
    )


def test_flows_that_are_not_all_are_said_to_be_so(asked: Asked) -> None:
    answer = {
        "flows": [FLOW],
        "looked_at": 9,
        "complete": False,
        "on_record": 70,
        "unrecorded": [],
        "proxied": [],
    }
    asked.answer = answer
    assert "70 are on record" in run("show", "flows").stderr
    asked.answer = {**answer, "flows": [], "complete": True, "unrecorded": ["198.18.1.100:80/tcp"]}
    assert "not on record" in run("show", "flows").stderr
    asked.answer = {**answer, "proxied": ["198.18.1.101:80/tcp"]}
    assert "mode proxy ends connections here" in run("show", "flows").stderr


@pytest.mark.parametrize("words", [("show", "backends"), ("drain", "rs1"), ("show", "flows")])
def test_json_is_the_answer_as_it_is(asked: Asked, words: tuple[str, ...]) -> None:
    asked.answer = {"anything": [1, None]}
    done = run(*words, "--json")
    assert json.loads(done.stdout) == asked.answer and not done.stderr


@pytest.mark.parametrize(
    ("line", "request_"),
    [
        ("show services --service web", {"do": "show", "what": "services", "service": "web"}),
        ("show backends --backend rs1", {"do": "show", "what": "backends", "backend": "rs1"}),
        (
            "show flows --client 198.18.0.0/24 --limit 5",
            {"do": "show", "what": "flows", "client": "198.18.0.0/24", "limit": 5},
        ),
        ("show counters", {"do": "show", "what": "counters"}),
        ("drain rs1 --service web", {"do": "drain", "backend": "rs1", "service": "web"}),
        ("undrain rs1", {"do": "undrain", "backend": "rs1"}),
        ("disable rs1", {"do": "disable", "backend": "rs1"}),
        ("enable rs1", {"do": "enable", "backend": "rs1"}),
        ("weight rs1 7", {"do": "weight", "backend": "rs1", "weight": 7}),
        ("weight rs1 configured", {"do": "weight", "backend": "rs1", "weight": "configured"}),
        ("reload", {"do": "reload"}),
        ("show table --service web", {"do": "show", "what": "table", "service": "web"}),
        ("show health --backend rs1", {"do": "show", "what": "health", "backend": "rs1"}),
        ("drain rs1 --within 60", {"do": "drain", "backend": "rs1", "within": 60}),
        ("drain rs1 --within 0 --durable", {"do": "drain", "backend": "rs1", "within": 0, "durable": True}),
        ("undrain rs1 --durable", {"do": "undrain", "backend": "rs1", "durable": True}),
        ("weight rs1 7 --durable", {"do": "weight", "backend": "rs1", "weight": 7, "durable": True}),
    ],
)
def test_a_command_is_one_request(asked: Asked, line: str, request_: dict[str, Any]) -> None:
    run(*line.split(), "--json")
    assert asked.request == request_
    assert asked.path == Path("/run/dsrlb/default.sock")


def test_another_instance_or_another_place_is_asked(asked: Asked) -> None:
    run("reload", "--instance", "blue")
    assert asked.path == Path("/run/dsrlb/blue.sock")
    run("reload", "--admin", "/somewhere/else")
    assert asked.path == Path("/somewhere/else")


def test_steering_says_how_the_backend_stands_now(asked: Asked) -> None:
    asked.answer = {
        "backends": [{**ROW, "standing": ["drained"], "weight": 0, "drift": ["drained, not by the file"],
                      "remaining": {"active": 12, "inactive": 3, "at_least": False}}],
        "notes": ["web has no backend for new flows now"],
    }  # fmt: skip
    done = run("drain", "rs1")
    assert done.stdout == (
        "198.18.1.11 (rs1) of 198.18.1.100:80/tcp: drained, weight 0; "
        "12 active, 3 inactive flows left; drained, not by the file\n"
    )
    assert done.stderr == "dsrlb: web has no backend for new flows now\n"


@pytest.mark.parametrize("weight", ["65536", "-1", "1.5", "many", "", "0" * 9])
def test_a_weight_that_cannot_be_is_a_usage_error(asked: Asked, weight: str) -> None:
    done = CliRunner().invoke(cli, ["weight", "--", "rs1", weight])
    assert done.exit_code == 2 and "65535" in done.output and not asked.request


def test_what_servers_say_has_no_power_over_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    tables.show(tables.backends([{**ROW, "why": "\x1b[2J\x07[red]down[/red]\nnext"}]))
    printed = capsys.readouterr().out
    assert "\x1b" not in printed and "\x07" not in printed and len(printed.splitlines()) == 2
    assert "[red]down[/red]" in printed


def test_many_words_are_not_cut_where_nobody_looks(capsys: pytest.CaptureFixture[str]) -> None:
    tables.show(tables.backends([{**ROW, "why": "word " * 60}]))
    assert capsys.readouterr().out.count("word") == 60

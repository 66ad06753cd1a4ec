"""Does what was planned happen, and is there a way back?"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from click.testing import CliRunner
from lab_reload import DEADLINE_S, Start, Write, all_answer, holding, service
from lab_running import RS1, RS2, RS3
from lab_wire import eventually

from dsrlb.cli import cli
from dsrlb.lab.balancer import Balancer
from dsrlb.lab.topology import VIP6, Lab

Ask = Callable[..., Any]


def asking(running: Balancer) -> Ask:
    """Return what runs a command that asks a balancer, and returns its answer, or what went wrong."""

    def ask(*words: str) -> Any:
        done = CliRunner().invoke(cli, [*words, "--json", "--admin", str(running.admin)])
        return json.loads(done.stdout) if done.exception is None else str(done.exception)

    return ask


def test_the_slots_that_were_to_move_have_moved_and_a_rollback_moves_them_back(
    lab: Lab, start: Start, write: Write, tmp_path: Path
) -> None:
    write(service(RS1, RS2, scheduler="maglev"))
    file, new = tmp_path / "dsrlb.toml", tmp_path / "new.toml"
    ask = asking(running := start())
    before = file.read_text()
    marks = ask("show", "table")[0]["mark"]
    with holding(lab, 12) as held:
        new.write_text(
            before.replace("weight = 1", "weight = 3", 1)
            + f'[[service.backend]]\naddress = "{RS3}"\n'
            + service(RS3, vip=VIP6)
        )
        (web, other) = ask("plan", str(new))["services"]
        assert (web["change"], other["change"], web["flows_moved"]) == ("changed", "added", 0)
        assert file.read_text() == before and ask("show", "table")[0]["mark"] == marks

        (moved,) = ask("apply", "--yes", str(new))["moved"]
        assert moved["slots_moved"] == web["slots_moved"] > 0
        table = ask("show", "table")
        assert table[0]["transition"]["changing"] == web["slots_moved"]
        slots = {one["backend"]: one["slots"] for one in table[0]["targets"]}
        assert slots == {one["backend"]: one["slots"] for one in web["backends"]}
        assert file.read_text() == new.read_text() and len(table) == 2
        all_answer(held)

        (back,) = ask("rollback", "--yes")["moved"]
        assert back["slots_moved"] == web["slots_moved"]
        assert file.read_text() == before and ask("show", "table")[0]["mark"] == marks
        kept = ask("rollback", "--list")["kept"]
        assert [(one["number"], one["is_in_force"]) for one in kept] == [(2, False), (1, True)]
    assert running.stop() == 0 and "Traceback" not in running.stderr


def test_the_flows_that_were_to_move_are_those_of_the_server_that_is_removed(
    lab: Lab, start: Start, write: Write, tmp_path: Path
) -> None:
    write(service(RS1, RS2, RS3, scheduler="wlc"))
    ask = asking(start())
    new = tmp_path / "new.toml"
    new.write_text('interfaces = ["e0"]\n' + service(RS1, RS3, scheduler="wlc"))
    with holding(lab, 9) as held:
        assert eventually(lambda: ask("plan", str(new))["services"][0]["flows"] == 9, DEADLINE_S)
        (web,) = ask("plan", str(new))["services"]
        ours = [one for one in held if one.server == "rs2"]
        assert web["flows_moved"] == len(ours) > 0
        ask("apply", "--yes", str(new))
        all_answer([one for one in held if one.server != "rs2"])


def test_what_would_be_refused_is_said_beforehand_and_leaves_the_file_as_it_was(
    start: Start, write: Write, tmp_path: Path, client: Any
) -> None:
    write(service(RS1))
    ask = asking(running := start())
    file, new = tmp_path / "dsrlb.toml", tmp_path / "new.toml"
    before, log = file.read_text(), running.stderr
    new.write_text(before.replace('["e0"]', '["nosuch"]'))
    for words in (("plan", str(new)), ("apply", "--yes", str(new))):
        assert "There is no interface nosuch" in ask(*words)
    assert file.read_text() == before and running.stderr == log
    new.write_text(before + service("198.18.0.2", vip=VIP6))
    assert f"{new}:" in (said := ask("plan", str(new))) and "198.18.0.2" in said
    assert client.requests(2)["errors"] == []

"""Does a drain end as it was said, and does what is durable hold over a restart?"""

from __future__ import annotations

import json
import signal
import stat
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from lab_reload import DEADLINE_S, Start, Write, all_answer, holding, reload, service
from lab_running import RS1, RS2, RS3, Serve, to
from lab_wire import eventually

from dsrlb.admin.asking import ask
from dsrlb.lab.balancer import Balancer, dsrlb, run_dsrlb
from dsrlb.lab.commands import inside
from dsrlb.lab.topology import Lab, run

both_engines = pytest.mark.both_engines(xdp_mode=["native"])


@pytest.fixture
def write(write: Write, tmp_path: Path) -> Write:
    """As ever, with state beside the file."""
    return partial(write, f'state_dir = "{tmp_path}/state"\n')


@pytest.fixture
def full_disk(lab: Lab) -> Iterator[Path]:
    """A folder on a file system without a free byte."""
    folder = lab.run_directory / "full"
    folder.mkdir(exist_ok=True)
    run(["mount", "-t", "tmpfs", "-o", "size=64k", "full", str(folder)])
    try:
        with (
            pytest.raises(OSError, match="No space"),
            (folder / "filling").open("wb", buffering=0) as filling,
        ):
            while True:
                filling.write(bytes(4096))
        yield folder
    finally:
        run(["umount", str(folder)])
        folder.rmdir()


def command(lab: Lab, running: Balancer, *words: str) -> subprocess.CompletedProcess[str]:
    return run_dsrlb(lab, "lb", *words, "--admin", str(running.admin))


def kept_in(file: Path) -> list[str]:
    """Return the backends of which something is durable."""
    return [one["backend"] for one in json.loads(file.read_bytes())["backends"]]


def row_of(running: Balancer, backend: str, what: str = "backends") -> dict[str, Any]:
    [row] = ask(running.admin, {"do": "show", "what": what, "backend": backend})
    return dict(row)


@both_engines
def test_at_its_deadline_a_drain_lets_go_of_what_is_left_and_of_nothing_else(
    lab: Lab, start: Start, write: Write, client: Any
) -> None:
    write(service(RS1, RS2, RS3))
    running = start()
    with holding(lab, 30) as held:
        of_rs1 = [one for one in held if one.server == "rs1"]
        others = [one for one in held if one.server != "rs1"]
        done = command(lab, running, "drain", RS1, "--within", "3")
        assert done.returncode == 0 and "10 active, 0 inactive flows left; let go in 3 s" in done.stdout
        all_answer(held)
        waited = command(lab, running, "drain", RS1, "--wait")
        assert waited.returncode == 1 and waited.stderr.count("\n") == 1
        assert "10 active, 0 inactive flows left when its time was over" in waited.stderr
        assert running.wait_for(f"{RS1} .*its drain is over: 10 active, 0 inactive flows are let go")
        all_answer(others)
        for one in of_rs1:
            with pytest.raises((ConnectionError, AssertionError)):
                all_answer([one])
        assert row_of(running, RS1)["standing"] == ["drained", "gone"]
        assert set(client.requests(10)["servers"]) == {"rs2", "rs3"}
        back = command(lab, running, "enable", RS1)
        assert back.returncode == 0 and f"{RS1} of" in back.stdout and ": up, weight 1" in back.stdout
        assert "rs1" in client.requests(12)["servers"]
        all_answer(others)


@both_engines
def test_a_drain_is_waited_for_until_the_last_connection_is_over(
    lab: Lab, start: Start, write: Write
) -> None:
    write(service(RS1, RS2, RS3))
    running = start()
    with holding(lab, 6):
        ask(running.admin, {"do": "drain", "backend": RS1, "within": 600})
        row = row_of(running, RS1)
        assert row["remaining"]["active"] == 2 and row["drain"]["state"] == "draining"
        assert 590 < row["drain"]["left_s"] <= 600
        write(service(RS1, RS2, RS3, scheduler="wrr"))
        reload(running)
        assert 580 < row_of(running, RS1)["drain"]["left_s"] <= 600
    done = command(lab, running, "drain", RS1, "--wait")
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert running.wait_for(f"backend {RS1} of .* is empty: no connection is left")


def test_what_is_durable_holds_over_a_restart_and_what_is_not_does_not(
    lab: Lab, start: Start, write: Write, tmp_path: Path
) -> None:
    write(service(RS1, RS2, RS3, scheduler="wrr"))
    running = start()
    for words in (("drain", RS1, "--durable", "--within", "900"), ("weight", RS2, "7", "--durable"),
                  ("disable", RS3)):  # fmt: skip
        assert command(lab, running, *words).returncode == 0
    file = tmp_path / "state" / "default.json"
    assert (file.name, stat.S_IMODE(file.stat().st_mode)) == ("default.json", 0o600)
    assert row_of(running, RS3)["drift"] == ["disabled, not by the file"]
    assert running.stop() == 0
    again = start()
    first, second, third = (row_of(again, one) for one in (RS1, RS2, RS3))
    assert first["drift"] == ["drained, not by the file (durable)"] and 800 < first["drain"]["left_s"] < 900
    assert second["drift"] == ["weight 7, file says 1 (durable)"] and third["drift"] == []
    assert command(lab, again, "undrain", RS1).returncode == 0
    assert row_of(again, RS1)["drift"] == ["drained again after a restart (durable)"]
    write(service(RS2, RS3, scheduler="wrr"))
    reload(again)
    assert eventually(lambda: kept_in(file) == [RS2], DEADLINE_S)
    write(service(RS1, RS2, RS3, scheduler="wrr"))
    reload(again)
    assert row_of(again, RS1)["drift"] == []


def test_a_full_disk_keeps_a_change_from_being_durable_and_nothing_else(
    lab: Lab, serve: Serve, full_disk: Path, client: Any
) -> None:
    running = serve("--state-dir", str(full_disk), flags=to(RS1, RS2, RS3, more=("--scheduler", "rr")))
    done = command(lab, running, "drain", RS1, "--durable")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "dsrlb: this holds, but only until dsrlb ends: "
        f"{full_disk}/default.json cannot be written (No space left on device)\n"
    )
    assert row_of(running, RS1)["drift"] == ["drained, not by the options"]
    assert set(client.requests(10)["servers"]) == {"rs2", "rs3"}
    assert {one.name for one in full_disk.iterdir()} <= {"filling", "counters-default.lock", "default.lock"}
    assert running.stderr.count("the counters cannot be kept in") == 1


def test_a_state_file_that_cannot_be_used_is_a_sentence_and_kept(
    lab: Lab, start: Start, write: Write, tmp_path: Path, client: Any
) -> None:
    write(service(RS1, RS2, RS3))
    file = tmp_path / "state" / "default.json"
    file.parent.mkdir()
    file.write_text('{"version": 9, "backends": []}')
    running = start()
    assert running.wait_for(f"{file} cannot be used: it is of version 9")
    assert client.requests(6)["errors"] == []
    assert command(lab, running, "drain", RS1, "--durable").returncode == 0
    assert kept_in(file) == [RS1]
    assert "9" in (tmp_path / "state" / "default.json.unfit").read_text()


def test_watching_goes_on_over_a_restart_and_ends_at_an_interrupt(
    lab: Lab, start: Start, write: Write, tmp_path: Path
) -> None:
    write(service(RS1, RS2))
    admin, seen, said = (tmp_path / name for name in ("one.sock", "seen", "said"))
    running = start("--admin", str(admin))
    line = dsrlb("show", "backends", "--watch", "0.2", "--json", "--admin", str(admin))
    with seen.open("wb") as out, said.open("wb") as err:
        watching = subprocess.Popen(inside(lab.namespace("lb"), *line), stdout=out, stderr=err)

    def sees(backends: list[str]) -> bool:
        lines = [json.loads(one) for one in seen.read_text().split("\n")[:-1]]
        return bool(lines) and [row["backend"] for row in lines[-1]] == backends

    try:
        assert eventually(lambda: sees([RS1, RS2]), DEADLINE_S)
        assert running.stop() == 0
        assert eventually(lambda: "No dsrlb runs" in said.read_text(), DEADLINE_S)
        write(service(RS1, RS2, RS3))
        start("--admin", str(admin))
        assert eventually(lambda: sees([RS1, RS2, RS3]), DEADLINE_S)
        watching.send_signal(signal.SIGINT)
        assert watching.wait(DEADLINE_S) == 0
        assert said.read_text().count("\n") == 2 and "it answers again" in said.read_text()
    finally:
        watching.kill()
        watching.wait()

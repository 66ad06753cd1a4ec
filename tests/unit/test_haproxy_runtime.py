"""Is HAProxy asked and steered as its guide says, and does it keep nobody waiting that is silent?"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dsrlb.engines.haproxy import runtime
from dsrlb.errors import HostError

PROCESSES = """#<PID>          <type>          <reloads>       <uptime>        <version>
811             master          3 [failed: 1]   0d00h02m21s     2.6.12-1+deb12u4
# workers
840             worker          1               0d00h00m04s     2.6.12-1+deb12u4
# old workers
813             worker          3               0d00h02m21s     2.6.12-1+deb12u4
815             worker          2               0d00h01m21s     2.6.12-1+deb12u4
# programs

"""
STATISTICS = """# pxname,svname,qcur,scur,stot,bin,status,
web,FRONTEND,,2,7,700,OPEN,
web,rs1,0,1,4,400,no check,
web,"rs,2",1,1,3,300,MAINT,

"""
Says = Callable[[str], str]


class Socket:
    """What listens where HAProxy would; it remembers what it was told."""

    def __init__(self, at: Path, says: Says) -> None:
        self.at, self.told, self._says = at, list[str](), says
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(at))
        self._listening.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                there, _ = self._listening.accept()
            except OSError:
                return
            with there:
                line = b""
                while not line.endswith(b"\n"):
                    line += there.recv(1 << 16)
                self.told.append(line.decode().rstrip("\n"))
                there.sendall(self._says(self.told[-1]).encode())

    def close(self) -> None:
        self._listening.close()


@pytest.fixture
def haproxy(tmp_path: Path) -> Iterator[Callable[[Says], Socket]]:
    made: list[Socket] = []

    def make(says: Says) -> Socket:
        made.append(Socket(tmp_path / f"{len(made)}.sock", says))
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_its_processes_are_known_with_those_from_before_reloads(haproxy: Callable[[Says], Socket]) -> None:
    there = haproxy(lambda _: PROCESSES)
    assert runtime.workers(there.at) == runtime.Workers(3, 1, 840, (813, 815))
    assert there.told == ["show proc"]


def test_a_master_without_a_worker_says_so(haproxy: Callable[[Says], Socket]) -> None:
    there = haproxy(lambda _: PROCESSES.partition("840")[0] + "# old workers\n# programs\n")
    assert runtime.workers(there.at) == runtime.Workers(3, 1, None, ())


def test_columns_are_found_by_their_names_and_what_is_empty_counts_nothing(
    haproxy: Callable[[Says], Socket],
) -> None:
    there = haproxy(lambda _: STATISTICS)
    rows = runtime.statistics(there.at, ("stot", "qcur", "not_in_this_version"), 813)
    assert there.told == ["@!813 show stat"]
    assert rows == [
        runtime.Row("web", "FRONTEND", "OPEN", {"stot": 7, "qcur": 0}),
        runtime.Row("web", "rs1", "no check", {"stot": 4, "qcur": 0}),
        runtime.Row("web", "rs,2", "MAINT", {"stot": 3, "qcur": 1}),
    ]


@pytest.mark.parametrize("said", ["", "Permission denied\n", "\n\n"])
def test_an_answer_that_is_none_is_an_error(said: str, haproxy: Callable[[Says], Socket]) -> None:
    there = haproxy(lambda _: said)
    with pytest.raises(HostError):
        runtime.statistics(there.at, ("stot",))
    with pytest.raises(HostError):
        runtime.workers(there.at)


def test_many_commands_are_given_in_pieces_that_fit_and_in_order(haproxy: Callable[[Says], Socket]) -> None:
    there = haproxy(lambda _: "\n")
    commands = [f"set server web/rs{number} weight {number % 256}" for number in range(2000)]
    runtime.tell(there.at, iter(commands))
    assert ";".join(there.told).split(";") == commands
    assert all(len(one) < 16_384 for one in there.told) and len(there.told) < 10


def test_a_command_that_is_refused_is_told_and_those_after_it_are_given(
    haproxy: Callable[[Says], Socket],
) -> None:
    there = haproxy(lambda line: "No such server.\n\n" if "/rs1 " in line else "\n\n")
    commands = [f"set server web/rs{number} weight 1" for number in range(1000)]
    with pytest.raises(HostError, match=r"refuses 1 of the commands: No such server\.$"):
        runtime.tell(there.at, commands)
    assert ";".join(there.told).split(";") == commands


def test_who_is_silent_keeps_nobody_for_long(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "silent.sock"))
        silent.listen()
        began = time.monotonic()
        with pytest.raises(HostError, match="does not answer"):
            runtime.command(tmp_path / "silent.sock", "show stat")
        assert time.monotonic() - began < 5 * runtime.ANSWER_WITHIN_S
    with pytest.raises(HostError, match="does not answer"):
        runtime.command(tmp_path / "nobody.sock", "show stat")

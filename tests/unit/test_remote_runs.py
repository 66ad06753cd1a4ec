"""Is each server left with a state that is true, whatever its script says or fails to say?"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from ipaddress import ip_address

import pytest
from click.testing import CliRunner

from dsrlb.cli.backend import backend
from dsrlb.errors import HostError
from dsrlb.host.via import Ran, Via
from dsrlb.remote import runs
from dsrlb.remote.jobs import Job, Server
from dsrlb.remote.runs import Course, State

VIP = ip_address("198.18.1.100")
Answer = Callable[[Sequence[str]], Ran]


@pytest.fixture
def course() -> Course:
    return Course(Server("web1", (ip_address("198.18.1.11"),), (Job("l2dsr", (VIP,), ()),)), Via("local", ""))


def answering(monkeypatch: pytest.MonkeyPatch, answer: Answer) -> None:
    async def ran(via: Via, script: str, arguments: Sequence[str], within_s: float) -> Ran:
        return answer(arguments)

    monkeypatch.setattr(runs, "ran", ran)


def hangs(arguments: Sequence[str]) -> Ran:
    raise HostError("local hangs: its script has not ended in 22 s.")


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        (lambda words: Ran(0, "done     x\n", ""), State.WAITING),
        (lambda words: Ran(4, "", "backend-setup: no.\n"), State.UNCHANGED),
        (lambda words: Ran(4, "already  x\n", "backend-setup: no.\n"), State.UNCHANGED),
        (lambda words: Ran(4, "done     x\n", "backend-setup: no.\n"), State.HALF_WAY),
        (lambda words: Ran(137, "done     x\n", ""), State.HALF_WAY),
        (hangs, State.HALF_WAY),
    ],
)
def test_how_a_setup_ends(
    monkeypatch: pytest.MonkeyPatch, course: Course, answer: Answer, state: State
) -> None:
    answering(monkeypatch, answer)
    asyncio.run(runs.each([course], runs.set_up))
    assert course.state is state and "backend-setup" not in course.says


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        (lambda words: Ran(0, "present  x\n", ""), State.RIGHT),
        (lambda words: Ran(1, "present  x\nmissing  y: ip z\n", ""), State.WRONG),
        (lambda words: Ran(0, "", ""), State.UNKNOWN),
        (lambda words: Ran(1, "", "dsrlb: it failed\n"), State.UNKNOWN),
        (lambda words: Ran(127, "", "sh: not found\n"), State.UNKNOWN),
        (hangs, State.UNKNOWN),
    ],
)
def test_how_a_look_ends(
    monkeypatch: pytest.MonkeyPatch, course: Course, answer: Answer, state: State
) -> None:
    answering(monkeypatch, answer)
    asyncio.run(runs.each([course], runs.verifying(State.RIGHT)))
    assert course.state is state
    assert (course.says == "y: ip z") == (state is State.WRONG)


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        (lambda words: Ran(0, "done     ip address del x\n", ""), State.UNDONE),
        (lambda words: Ran(0, "nothing  to undo for x\n", ""), State.NOTHING),
        (lambda words: Ran(4, "done     x\n", "backend-setup: no.\n"), State.NOT_UNDONE),
        (hangs, State.NOT_UNDONE),
    ],
)
def test_how_an_undo_ends(
    monkeypatch: pytest.MonkeyPatch, course: Course, answer: Answer, state: State
) -> None:
    answering(monkeypatch, answer)
    asyncio.run(runs.each([course], runs.undo))
    assert course.state is state


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (
            ["--via", "local", "--mode", "l2dsr", "--vip", "198.18.1.100"],
            "--via is about the servers of a file",
        ),
        (["--json", "--mode", "l2dsr", "--vip", "198.18.1.100"], "--json is about the servers of a file"),
        (["--config", "FILE", "--vip", "198.18.1.100"], "--config and --vip together"),
        (["--config", "FILE", "--via", "ssh:root@web1;reboot"], "neither an address nor the name of a host"),
        (["--config", "FILE", "--via", "telnet:{name}"], "is no way to a machine"),
        (["--config", "FILE", "--backend", "web9"], "'web9' is in no service of this file; there are web1"),
        (["--vip", "198.18.1.100"], "Missing option '--mode'"),
    ],
)
def test_a_wrong_word_is_one_sentence_before_anything_is_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory, flags: list[str], told: str
) -> None:
    file = tmp_path_factory.mktemp("far") / "dsrlb.toml"
    file.write_text(
        '[[service]]\nvip = "198.18.1.100:80"\nmode = "l2dsr"\n'
        '[[service.backend]]\nname = "web1"\naddress = "198.18.1.11"\n'
    )
    answering(monkeypatch, lambda words: pytest.fail("a script was run"))
    said = [str(file) if flag == "FILE" else flag for flag in flags]
    answer = CliRunner().invoke(backend, ["verify", *said])
    assert told in str(answer.exception) and getattr(answer.exception, "exit_code", None) == 2

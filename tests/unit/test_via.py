"""Is a way to another machine taken for what it says, and nothing else, and is every failure one sentence?"""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from dsrlb.errors import HostError, UsageError
from dsrlb.host import via as ways
from dsrlb.host.via import Via, run_script, via_in
from dsrlb.host.via_choice import vias_for

DEADLINE_S = 30
LOCAL = Via("local", "")
ROOT = "ssh:root@198.18.1.11"

GOOD = [
    "local",
    "netns:lab-web1",
    ROOT,
    "ssh:root@198.18.1.11:2222",
    "ssh:admin@web1.example",
    "ssh:root@2001:db8::11",
    "ssh:root@[2001:db8::11]:2222",
    "ssh:root@fe80::1%eth0",
]
BAD = [
    "",
    "web1",
    "local:",
    "netns:",
    "netns:../../etc",
    "netns:-all",
    "netns:a b",
    "ssh:web1",
    "ssh:@web1",
    "ssh:root@",
    "ssh:root@-oProxyCommand=touch /tmp/x",
    "ssh:-oProxyCommand=x@web1",
    "ssh:root@web1;reboot",
    "ssh:root@$(reboot)",
    "ssh:root@`reboot`",
    "ssh:root@web1 reboot",
    "ssh:root@web1\nreboot",
    "ssh:root@web1|x",
    "ssh:root@[web1]",
    "ssh:root@[2001:db8::11",
    "ssh:root@[fe80::1%;reboot]",
    "ssh:root@web1:0",
    "ssh:root@web1:65536",
    "ssh:root@web1:ssh",
    "ssh:a@b@web1",
    "telnet:root@web1",
]


def wait_until(holds: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + DEADLINE_S
    while not holds():
        assert time.monotonic() < deadline_s
        time.sleep(0.02)


def is_gone(note: Path) -> bool:
    """Whether the process whose number a script noted has ended; a container may not reap orphans."""
    state = Path("/proc", note.read_text().strip(), "stat")
    try:
        return state.read_text().rpartition(") ")[2].startswith("Z")
    except (FileNotFoundError, ProcessLookupError):
        return True


@pytest.mark.parametrize("text", GOOD)
def test_a_way_is_written_as_it_was_read(text: str) -> None:
    assert str(via_in(text)) == text


@pytest.mark.parametrize("text", BAD)
def test_what_is_no_way_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(UsageError) as refused:
        via_in(text)
    assert str(refused.value).startswith("--via ") and "\n" not in str(refused.value)


def test_a_script_runs_with_its_arguments_as_they_are() -> None:
    hostile = ["$(echo no)", "a b", "'", '"', "-x", "", "*", ";", "\\n"]
    ran = run_script(LOCAL, 'for one; do printf "<%s>\\n" "$one"; done; echo heard >&2; exit 3', hostile)
    assert ran.out.splitlines() == [f"<{one}>" for one in hostile]
    assert (ran.code, ran.err) == (3, "heard\n")


def test_of_half_a_script_nothing_is_run(tmp_path: Path) -> None:
    made = tmp_path / "made"
    ran = run_script(LOCAL, f"touch {made}; if true; then")
    assert ran.code != 0 and not made.exists()


def test_signs_that_would_steer_a_terminal_are_question_marks() -> None:
    assert run_script(LOCAL, "printf '\\033[2Jgone\\r\\tkept\\n\\377'").out == "?[2Jgone?\tkept\n\ufffd"


def test_a_script_that_hangs_is_killed_with_its_children_and_named(tmp_path: Path) -> None:
    note = tmp_path / "child"
    began_s = time.monotonic()
    with pytest.raises(HostError, match=r"^local hangs: its script has not ended in 0\.5 s\.$"):
        run_script(LOCAL, f"sleep 600 & echo $! >{note}.new; mv {note}.new {note}; wait", within_s=0.5)
    assert time.monotonic() - began_s < 20
    wait_until(lambda: is_gone(note))


def test_a_machine_that_never_stops_talking_is_cut_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ways, "MOST_BYTES", 1 << 20)
    with pytest.raises(HostError, match="says more than 1 MB"):
        run_script(LOCAL, "while :; do echo 0123456789012345678901234567890123456789; done")


def test_a_namespace_that_is_not_there_is_named() -> None:
    with pytest.raises(HostError, match="there is no network namespace no-such-place"):
        run_script(via_in("netns:no-such-place"), "echo never")


# --- ssh, with another program of that name -------------------------------------------------------


@pytest.fixture
def pretended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder before all others in PATH, for an ``ssh``."""
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return tmp_path


def write_ssh(folder: Path, text: str) -> None:
    write(folder / "ssh", text)


def write(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def test_ssh_is_told_user_port_and_host_and_to_ask_for_nothing(pretended: Path) -> None:
    write_ssh(pretended, 'for one; do printf "%s\\n" "$one"; done')
    words = run_script(via_in("ssh:root@[2001:db8::11]:2222"), "").out.splitlines()
    assert words[-6:-1] == ["2222", "-l", "root", "--", "2001:db8::11"]
    assert "BatchMode=yes" in words and any(one.startswith("ConnectTimeout=") for one in words)


def test_the_shell_behind_ssh_sees_the_arguments_as_they_are(pretended: Path) -> None:
    write_ssh(pretended, 'for last; do :; done; eval "$last"')  # as sshd has a login shell do
    hostile = ["$(echo no)", "it's", "a  b", ";exit 9"]
    ran = run_script(via_in(ROOT), 'for one; do printf "<%s>\\n" "$one"; done', hostile)
    assert ran.out.splitlines() == [f"<{one}>" for one in hostile]


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (
            "root@198.18.1.11: Permission denied (publickey).",
            "no password is asked for: ssh-copy-id",
        ),
        ("Host key verification failed.", "its host key is not known here"),
        ("@  WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!  @", "shows another host key"),
        ("ssh: connect to host 198.18.1.11 port 22: Connection refused", "port 22: Connection refused."),
        ("", "cannot be reached: ssh says nothing."),
    ],
)
def test_why_ssh_fails_is_one_sentence(pretended: Path, said: str, told: str) -> None:
    write_ssh(pretended, f"printf '%s\\r\\n' '{said}' >&2; exit 255")  # ssh ends its lines so
    with pytest.raises(HostError) as failed:
        run_script(via_in(ROOT), "echo never")
    assert str(failed.value).startswith(ROOT) and told in str(failed.value)
    assert not {*"\n?"} & {*str(failed.value)}


def test_whoever_is_interrupted_takes_the_script_along(tmp_path: Path) -> None:
    note = tmp_path / "script"
    code = (
        "import signal; from dsrlb.host.via import *\n"
        f"run_script(Via('local', ''), 'echo $$ >{note}.new; mv {note}.new {note}; exec sleep 600', (), 60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL) as waiting:
        wait_until(note.exists)
        waiting.send_signal(signal.SIGINT)
        assert waiting.wait(DEADLINE_S) != 0
    wait_until(lambda: is_gone(note))


# --- which machine by which way -------------------------------------------------------------------

SERVERS = {"web1": "198.18.1.11", "web2": "2001:db8::12"}


def test_a_way_without_a_name_serves_all_in_the_words_of_each() -> None:
    assert {name: str(one) for name, one in vias_for(["ssh:root@{address}:22"], SERVERS).items()} == {
        "web1": "ssh:root@198.18.1.11:22",
        "web2": "ssh:root@[2001:db8::12]:22",
    }
    assert str(vias_for(["netns:lab-{name}"], SERVERS)["web2"]) == "netns:lab-web2"


def test_a_way_with_a_name_goes_before_that_of_all_in_any_order() -> None:
    for texts in (["web2=local", "netns:{name}"], ["netns:{name}", "web2=local"]):
        found = vias_for(texts, {**SERVERS, "client": ""}, by_name_only={"client"})
        assert {name: str(one) for name, one in found.items()} == {"web1": "netns:web1", "web2": "local"}


def test_one_machine_alone_needs_neither_a_name_nor_a_place() -> None:
    assert vias_for(["local"], {"web1": "198.18.1.11"}) == {"web1": LOCAL}


@pytest.mark.parametrize(
    ("texts", "told"),
    [
        (["web9=local"], "'web9' is none of the machines asked for (web1, web2)"),
        (["netns:{name}", "ssh:a@{name}"], "there is another one for web1"),
        (["local"], "leads web1 and web2 to one machine; say NAME= before it, or {name}"),
        (["web1=local", "web1=netns:a"], "there is another one for web1"),
        (["ssh:root@{host}"], "'{host}' is not one of"),
        (["web1"], "is no way to a machine"),
        (["web1=telnet:x"], "is no way to a machine"),
    ],
)
def test_wrong_ways_are_named(texts: list[str], told: str) -> None:
    with pytest.raises(UsageError) as refused:
        vias_for(texts, SERVERS)
    assert told in str(refused.value)

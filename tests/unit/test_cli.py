"""Does the command line speak in single sentences, and end quietly when interrupted?"""

from __future__ import annotations

import errno
import os
import signal
import struct
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SERVICE = ["--mode", "l2dsr", "--vip", "198.18.1.100:80", "--backend", "198.18.1.11,mac=02:00:c6:12:01:11"]


def dsrlb(*arguments: str, **more: object) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "dsrlb", *arguments]
    surroundings = {**os.environ, "PYTHONPATH": f"{more.pop('path', ROOT)}:{ROOT}"}
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "input": b"", **more}
    return subprocess.run(command, env=surroundings, check=False, timeout=60, **streams)  # type: ignore[call-overload]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (
            ["serve", "--bakend", "198.18.1.11"],
            ["No such option", "--bakend", "--backend", "dsrlb serve --help"],
        ),
        (["servee"], ["No such command", "servee", "dsrlb --help"]),
        (["serve"], ["Missing option", "--mode", "l2dsr", "dsrlb serve --help"]),
        (["serve", "--mode", "l4dsr"], ["--mode", "l4dsr", "l2dsr"]),
        (["serve", *SERVICE, "--vip"], ["--vip", "requires an argument"]),
        (["serve", *SERVICE, "stray"], ["unexpected extra argument", "stray"]),
        (["serve", *SERVICE, "--interface", ""], ["--interface", "no name"]),
        (["lab", "up", "--mtu", "3"], ["--mtu", "3", "1280"]),
    ],
)
def test_a_wrong_command_line_is_told_in_one_line_with_exit_code_2(line: list[str], words: list[str]) -> None:
    done = dsrlb(*line)
    told = done.stderr.decode().splitlines()
    assert (done.returncode, done.stdout, len(told)) == (2, b"", 1), told
    assert told[0].startswith("dsrlb: ")
    assert [word for word in words if word not in told[0]] == [], told[0]


def test_a_command_without_a_verb_shows_its_help() -> None:
    done = dsrlb("lab")
    assert b"Usage: dsrlb lab" in done.stdout + done.stderr
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize(("stand_in", "code"), [("click", -signal.SIGINT), ("numpy", 130)])
def test_an_interrupt_while_the_program_is_loaded_ends_it_quietly(
    stand_in: str, code: int, tmp_path: Path
) -> None:
    # Every command needs click, and serve loads numpy: in the middle of all that is loaded, ^C.
    (tmp_path / f"{stand_in}.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    done = dsrlb("serve", "--help", path=tmp_path)
    assert (done.returncode, done.stdout, done.stderr.strip()) == (code, b"", b"")


def writer_of(fifo: Path) -> int:
    """Wait until somebody reads from a fifo; return the descriptor to write to it."""
    deadline = time.monotonic() + 60
    while True:
        try:
            return os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
        except OSError as error:
            assert error.errno == errno.ENXIO and time.monotonic() < deadline
            time.sleep(0.01)


def interrupted(running: subprocess.Popen[bytes]) -> bytes:
    """Interrupt a process until it ends; return what it told on stderr.

    One that comes just before a blocking read is seen only after it: a person presses ^C again.
    """
    for _ in range(12):
        running.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            return running.communicate(timeout=5)[1]
    raise AssertionError("interrupted twelve times, and still there")


def test_an_interrupt_of_a_command_ends_it_quietly(tmp_path: Path) -> None:
    source = tmp_path / "fifo"
    os.mkfifo(source)
    command = [sys.executable, "-m", "dsrlb", "replay", *SERVICE, str(source), str(tmp_path / "o.pcap")]
    surroundings = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stderr=subprocess.PIPE, env=surroundings) as running:
        try:
            writer = writer_of(source)
            told = interrupted(running)
            os.close(writer)
        finally:
            running.kill()
    assert (running.returncode, told.strip()) == (130, b"")


SYN = bytes.fromhex(
    "0200c61201100200c61201010800"
    "4500002c1c4640003f0691fbc6120002c6120164"
    "9c40005012345678000000006002faf00a6e0000020405b4"
)  # to 198.18.1.100 port 80


def capture(*frames: bytes) -> bytes:
    """A pcap file (draft-ietf-opsawg-pcap)."""
    head = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 1)
    return head + b"".join(struct.pack("<IIII", 1, 0, len(one), len(one)) + one for one in frames)


FORWARDED = bytes.fromhex("0200c6120111") + SYN[:6] + SYN[12:]


def test_replay_reads_standard_input_and_writes_standard_output(tmp_path: Path) -> None:
    done = dsrlb("replay", *SERVICE, "-", "-", input=capture(SYN), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout[24:] == capture(FORWARDED)[24:]
    assert b"forwarded" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_replay_takes_a_file_that_is_named_like_standard_input(tmp_path: Path) -> None:
    (tmp_path / "-").write_bytes(capture(SYN))
    done = dsrlb("replay", *SERVICE, "./-", "out.pcap", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"forwarded" in done.stdout
    assert (tmp_path / "out.pcap").read_bytes()[24:] == capture(FORWARDED)[24:]


def test_replay_to_standard_output_onto_its_own_input_is_refused_and_the_input_is_whole(
    tmp_path: Path,
) -> None:
    source = tmp_path / "i.pcap"
    source.write_bytes(capture(SYN))
    with source.open("ab") as itself:
        done = dsrlb("replay", *SERVICE, "i.pcap", "-", stdout=itself, cwd=tmp_path)
    assert done.returncode == 3
    assert b"to read as well" in done.stderr
    assert source.read_bytes() == capture(SYN)


@pytest.mark.parametrize(("where", "word"), [("-", b"standard input"), ("none.pcap", b"none.pcap")])
def test_replay_names_the_input_that_is_no_capture(where: str, word: bytes, tmp_path: Path) -> None:
    done = dsrlb("replay", *SERVICE, where, "o.pcap", input=b"no capture", cwd=tmp_path)
    assert done.returncode == 3 and word in done.stderr

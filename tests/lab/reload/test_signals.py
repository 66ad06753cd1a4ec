"""Does a reload go with the other signals, and does the service manager hear of it?"""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from lab_reload import DEADLINE_S, Start, Write, reload, service
from lab_running import RS1, RS2, RS3, Serve, is_claimed, ours
from lab_wire import eventually

from dsrlb.lab.topology import Lab


def test_a_reload_of_a_balancer_that_has_no_file_says_so_and_changes_nothing(
    serve: Serve, client: Any
) -> None:
    running = serve()
    assert "no file to read again" in reload(running, "reload refused")
    assert client.requests(3)["errors"] == []
    assert running.stop() == 0


def test_a_signal_to_stop_ends_a_balancer_in_the_middle_of_a_reload(
    lab: Lab, start: Start, write: Write
) -> None:
    write(service(RS1))
    running = start()
    write(
        service(RS1, "198.18.1.77"), service(RS1, vip="198.18.1.101")
    )  # a silent server takes three seconds
    running.process.send_signal(signal.SIGHUP)
    assert eventually(lambda: is_claimed(lab, "198.18.1.101"), DEADLINE_S)
    assert running.stop() == 0
    assert "reloaded" not in running.stderr and "Traceback" not in running.stderr
    assert not ours(lab) and not is_claimed(lab) and not is_claimed(lab, "198.18.1.101")


def test_signals_that_come_together_end_in_what_the_file_says_last(
    start: Start, write: Write, client: Any
) -> None:
    write(service(RS1))
    running = start()
    for backends in ([RS1, RS2], [RS2, RS3], [RS3]):
        write(service(*backends))
        for _ in range(3):
            running.process.send_signal(signal.SIGHUP)
    assert eventually(lambda: set(client.requests(3)["servers"]) == {"rs3"}, DEADLINE_S)
    assert running.stop() == 0


@pytest.fixture
def notified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(DEADLINE_S)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield manager


def test_the_service_manager_hears_of_each_reload_and_how_it_ended(
    notified: socket.socket, start: Start, write: Write
) -> None:
    write(service(RS1))
    running = start()
    assert notified.recv(4096) == b"READY=1"
    for text, status in ((service(RS1, RS2), b"reloaded: changed"), ("oops\n", b"reload refused: /")):
        write(text)
        running.process.send_signal(signal.SIGHUP)
        begun, ended = notified.recv(4096), notified.recv(4096)
        assert begun.startswith(b"RELOADING=1\nMONOTONIC_USEC=") and begun.rpartition(b"=")[2].isdigit()
        assert ended.startswith(b"READY=1\nSTATUS=" + status) and ended.count(b"\n") == 1

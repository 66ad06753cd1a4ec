"""Does a balancer start, stop and report as an operator counts on, by signals and after a crash?"""

from __future__ import annotations

import re
import signal
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lab_running import RS1, VERSIONS, Serve, backends, flows_of, is_claimed, ours, reasons, to
from lab_wire import eventually

from dsrlb.lab.topology import VIP, VIP6, Lab, run


def test_ready_is_logged_once_and_the_first_packet_after_it_is_forwarded(
    lab: Lab, serve: Serve, client: Any
) -> None:
    running = serve()
    assert client.requests(20)["errors"] == []
    assert running.stop() == 0
    assert len(re.findall(r"\bready\b", running.stderr)) == 1
    assert "Traceback" not in running.stderr


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_a_signal_to_stop_prints_the_counters_and_exits_0(
    sign: signal.Signals, lab: Lab, serve: Serve, client: Any
) -> None:
    running = serve("--scheduler", "rr")
    assert client.requests(6)["errors"] == []
    assert ours(lab) and is_claimed(lab)
    assert running.stop(sign) == 0
    assert {flows for _, _, flows in backends(running.stdout).values()} == {2}
    assert reasons(running.stdout)["forwarded"] >= 6 * 4
    assert not ours(lab) and not is_claimed(lab)


def test_a_second_signal_to_stop_does_no_harm(lab: Lab, serve: Serve) -> None:
    running = serve()
    for _ in range(3):
        running.process.send_signal(signal.SIGTERM)
    assert running.stop(signal.SIGINT) == 0
    assert "Traceback" not in running.stderr and not ours(lab)


def test_sigusr1_prints_the_counters_and_goes_on(lab: Lab, serve: Serve, client: Any) -> None:
    running = serve("--scheduler", "rr")
    for asked in (1, 2):
        assert client.requests(3)["errors"] == []
        running.process.send_signal(signal.SIGUSR1)
        assert eventually(lambda asked=asked: running.stdout.count("reason  ") == asked, 20)
        assert eventually(lambda asked=asked: flows_of(running) == [asked] * 3, 20)
    assert client.requests(3)["errors"] == []
    assert running.stop() == 0
    assert flows_of(running) == [3] * 3


def is_claimed_and_waits_for_a_silent_server(lab: Lab) -> bool:
    return is_claimed(lab)


def has_set_its_rules(lab: Lab) -> bool:
    return bool(ours(lab))


@pytest.mark.parametrize(
    ("moment", "sign"),
    [
        (is_claimed_and_waits_for_a_silent_server, signal.SIGTERM),
        (has_set_its_rules, signal.SIGTERM),
        (has_set_its_rules, signal.SIGINT),
    ],
)
def test_a_signal_during_the_start_stops_it_and_leaves_nothing(
    moment: Callable[[Lab], bool], sign: signal.Signals, lab: Lab, serve: Serve
) -> None:
    silent = ["198.18.1.77"] if moment is is_claimed_and_waits_for_a_silent_server else []
    running = serve(flags=to(RS1, *silent), ready=False)
    assert eventually(lambda: moment(lab), 30)
    assert running.stop(sign) == 0
    assert "Traceback" not in running.stderr
    assert not ours(lab) and not is_claimed(lab)


def test_asking_for_the_counters_during_the_start_changes_nothing(lab: Lab, serve: Serve) -> None:
    running = serve(flags=to("198.18.1.77"), ready=False)
    assert eventually(lambda: is_claimed(lab), 30)
    running.process.send_signal(signal.SIGUSR1)
    assert running.process.wait(30) == 3
    assert "198.18.1.77 did not answer" in running.stderr and not ours(lab)


def test_systemd_is_told_of_ready_and_of_stopping(
    lab: Lab, serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as service_manager:
        service_manager.bind(str(tmp_path / "notify"))
        service_manager.settimeout(30)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        running = serve()
        assert service_manager.recv(100) == b"READY=1"
        assert running.stop() == 0
        assert service_manager.recv(100) == b"STOPPING=1"


def test_a_service_manager_that_is_gone_is_no_reason_to_fail(
    lab: Lab, serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nobody"))
    assert serve().stop() == 0


@VERSIONS
def test_after_a_crash_the_next_start_works_and_its_stop_leaves_no_rule(
    version: int, lab: Lab, serve: Serve, client: Any
) -> None:
    crashed = serve(version=version)
    assert crashed.stop(signal.SIGKILL) == -signal.SIGKILL
    assert len(ours(lab).splitlines()) == 1, "what the tests of refused starts put there by hand"
    after = serve(version=version)
    assert client.requests(6, host=VIP if version == 4 else VIP6)["errors"] == []
    assert after.stop() == 0
    assert not ours(lab)


def test_after_a_crash_the_start_of_another_vip_takes_the_rules_back_and_says_so(
    lab: Lab, serve: Serve
) -> None:
    serve().stop(signal.SIGKILL)
    after = serve(version=6)
    assert str(VIP) in after.wait_for("crashed")
    assert str(VIP) not in ours(lab) and str(VIP6) in ours(lab)
    assert after.stop() == 0 and not ours(lab)


REFUSED = {
    "its backend is off-link": to("198.19.5.5"),
    "no interface of that name": to(RS1, interfaces=["eth77"]),
    "its backend does not answer": to("198.18.1.77"),
}


@pytest.mark.parametrize("why", REFUSED)
def test_after_a_crash_a_start_that_is_refused_leaves_no_rule(
    why: str, lab: Lab, dsrlb: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    what_a_crash_leaves = ["pref", "10", "iif", "e0", "to", f"{VIP}/32", "blackhole", "protocol", "213"]
    rule = ["ip", "-n", lab.namespace("lb"), "rule"]
    run([*rule, "add", *what_a_crash_leaves])
    try:
        assert dsrlb("serve", *REFUSED[why]).returncode == 3
        assert not ours(lab)
    finally:
        subprocess.run([*rule, "del", *what_a_crash_leaves], capture_output=True, check=False)


def test_the_interface_is_that_of_the_default_route_unless_given(lab: Lab, serve: Serve, client: Any) -> None:
    running = serve(flags=to(RS1, interfaces=[]))
    assert running.wait_for("ready").endswith("on e0")
    assert client.requests(3)["servers"] == ["rs1"] * 3

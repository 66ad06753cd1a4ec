"""Does a balancer that is stopped and started again still know every connection?"""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import pytest
from lab_engine import Engine
from lab_reload import Start, Write, all_answer, holding, service
from lab_running import RS1, RS2, RS3
from lab_wire import TEST_PREFIX

from dsrlb.lab import balancer, xdp
from dsrlb.lab.balancer import Balancer, serve_flags
from dsrlb.lab.lifecycle import standing
from dsrlb.lab.topology import Lab

CONNECTIONS = 60


NATIVE = pytest.mark.both_engines(xdp_mode=["native"])


@pytest.fixture
def left(tmp_path: Path, engine: Engine) -> Path:
    """Where records are left, by a balancer whose admin socket is beside."""
    return tmp_path / ("one.maps" if engine.name == "xdp" else "one.flows")


@pytest.fixture
def again(start: Start, tmp_path: Path) -> Start:
    """Start a balancer with the file, which is always the same balancer."""
    return lambda *more: start("--admin", str(tmp_path / "one.sock"), *more)


@pytest.mark.both_engines(xdp_mode=["native"], scheduler=["lc"])
@pytest.mark.parametrize("scheduler", ["rr", "lc"])
def test_every_connection_is_with_its_server_still(
    scheduler: str, lab: Lab, write: Write, again: Start, left: Path
) -> None:
    write(service(RS1, RS2, RS3, scheduler=scheduler))
    running = again()
    with holding(lab, CONNECTIONS) as held:
        assert running.stop() == 0
        assert stat.S_IMODE(left.stat().st_mode) == 0o600
        running = again()
        assert "took over" in running.stderr
        assert not left.exists()
        all_answer(held)


@NATIVE
def test_also_when_servers_came_and_went_meanwhile(lab: Lab, write: Write, again: Start) -> None:
    write(service(RS1, RS3, scheduler="maglev"))
    running = again()
    with holding(lab, CONNECTIONS) as held:
        write(service(RS1, RS2, RS3, scheduler="maglev"))
        running.stop()
        running = again()
        all_answer(held)
        write(service(f"{RS1},0", RS2, RS3, scheduler="maglev"))
        running.stop()
        again()
        all_answer(held)


def test_a_broken_file_is_one_sentence_and_a_start_like_any_other(
    lab: Lab, write: Write, again: Start, left: Path, client: Any
) -> None:
    write(service(RS1, RS2, RS3))
    left.write_bytes(b"\0" * 100)
    left.chmod(0o600)
    running = again()
    lines = [line for line in running.stderr.splitlines() if str(left) in line]
    assert len(lines) == 1 and "cannot be taken over" in lines[0], running.stderr
    assert client.requests(9)["errors"] == []
    assert not left.exists()


@pytest.mark.parametrize("is_xdp", [False, True], ids=["packet", "xdp"])
def test_a_translated_connection_has_its_second_name_and_its_port_again(
    is_xdp: bool, shared_directories: None, tmp_path: Path
) -> None:
    shape = Lab(prefix=f"{TEST_PREFIX}re-", mode="inline", one_armed=True, snat=True, xdp=is_xdp)
    with standing(shape) as lab:

        def start() -> Balancer:
            flags = serve_flags(lab, "--scheduler", "rr", *(xdp.flags(lab) if is_xdp else []))
            return balancer.serve(lab, flags, admin=tmp_path / "one.sock")

        running = start()
        with holding(lab, CONNECTIONS) as held:
            assert running.stop() == 0
            running = start()
            all_answer(held)
            with holding(lab, CONNECTIONS) as more:  # none of them gets the port of another
                all_answer(held + more)
        assert running.stop() == 0

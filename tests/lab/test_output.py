"""Does a balancer stop as it should when nobody reads what it prints?"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from lab_wire import eventually

from dsrlb.lab.balancer import dsrlb, serve_flags
from dsrlb.lab.topology import VIP, Lab, inside, run


@contextmanager
def no_reader() -> Iterator[int]:
    """A pipe whose reader went away."""
    reader, writer = os.pipe()
    os.close(reader)
    yield writer
    os.close(writer)


@contextmanager
def full_disk() -> Iterator[int]:
    with Path("/dev/full").open("w") as full:
        yield full.fileno()


@contextmanager
def closed() -> Iterator[None]:
    """Nothing: the shell that starts the balancer closes it."""
    yield None


@pytest.mark.parametrize("output", [no_reader, full_disk, closed])
def test_counters_that_nobody_reads_keep_no_balancer_from_a_clean_stop(output, lab: Lab, tmp_path) -> None:
    command = ["sh", "-c", 'exec "$@" >&-', "sh"] if output is closed else []
    command += dsrlb(
        "serve", "--admin", "off", "--state-dir", str(lab.run_directory / "state"), *serve_flags(lab)
    )
    log = tmp_path / "log"
    with output() as out, log.open("w") as err:
        process = subprocess.Popen(inside(lab.namespace("lb"), *command), stdout=out, stderr=err)
    try:
        assert eventually(lambda: "ready" in log.read_text(), 30)
        process.send_signal(signal.SIGUSR1)
        assert output is closed or eventually(lambda: "counters could not be printed" in log.read_text(), 30)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
    assert "Traceback" not in log.read_text()
    assert str(VIP) not in run(["ip", "-n", lab.namespace("lb"), "rule"])

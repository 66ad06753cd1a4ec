"""Does the program see the handshakes of real clients, and how long they take?"""

from __future__ import annotations

import os
import signal
import time
from typing import Any

import numpy as np
from lab_reload import DEADLINE_S, Start, Write, service
from lab_running import RS1, RS2, RS3
from lab_wire import TO_BALANCER, Inject, eventually
from numpy.typing import NDArray
from scapy.layers.inet import IP, TCP

from dsrlb.engines.xdp import layout
from dsrlb.host import bpf, bpf_maps
from dsrlb.lab.topology import VIP, Lab
from dsrlb.sampling import bounds, median_us

NOBODY, PORT = "198.18.0.177", 40_000  # who gets no answer of the server's
WAIT_US = 30_000
REQUESTS = 60


def entries(lab: Lab, name: str, of: np.dtype[Any]) -> NDArray[Any]:
    """Return all entries of a map of the program at work."""
    path = lab.bpf_fs / "dsrlb" / "default" / "maps" / name
    found, fd = bpf_maps.entries_of(path), bpf.pinned(path)
    assert found is not None and fd is not None
    try:
        return np.frombuffer(bpf_maps.values(bpf_maps.map_of(fd), found[0]), of)
    finally:
        os.close(fd)


def counted(lab: Lab) -> NDArray[Any]:
    """Return what was counted of the backends with which there were handshakes."""
    found = entries(lab, "handshakes", layout.HANDSHAKES)
    return found[found["opened"] > 0]


def test_each_handshake_of_real_clients_is_answered_in_a_sensible_time(
    lab: Lab, start: Start, write: Write, client: Any
) -> None:
    write(service(RS1, RS2, RS3, more="passive = true\n"))
    running = start()
    assert client.requests(REQUESTS)["errors"] == []
    seen = counted(lab)
    assert seen["opened"].tolist() == seen["answered"].tolist() == [REQUESTS // 3] * 3
    assert not seen["reset"].any() and not seen["silent"].any()
    for times in seen["times"]:
        median = median_us(times.tolist())
        assert median is not None and 0 < median < 1_000_000
    running.stop(signal.SIGKILL)
    assert client.requests(3)["errors"] == []
    again = start()
    assert counted(lab)["answered"].tolist() == [REQUESTS // 3 + 1] * 3  # they outlive the process
    assert again.stop() == 0


def test_a_handshake_takes_as_long_as_its_client_saw_it_take(
    lab: Lab, start: Start, write: Write, inject: Inject
) -> None:
    write(service(RS1, scheduler="maglev", more="passive = true\n"))
    running = start()
    segment = TO_BALANCER / IP(src=NOBODY, dst=str(VIP))

    def held() -> NDArray[Any]:
        cells = entries(lab, "cells", layout.CELL)
        return cells[cells["tag"] != 0]

    sent_us = time.monotonic_ns() // 1000
    inject(segment / TCP(sport=PORT, dport=80, flags="S"))
    assert eventually(lambda: len(held()) == 1, DEADLINE_S)
    seen_us = time.monotonic_ns() // 1000
    assert sent_us <= held()["began_us"][0] <= seen_us
    assert eventually(lambda: time.monotonic_ns() // 1000 > seen_us + WAIT_US, DEADLINE_S)
    inject(segment / TCP(sport=PORT, dport=80, flags="A"))
    assert eventually(lambda: counted(lab)["answered"].tolist() == [1], DEADLINE_S)
    (bucket,) = np.flatnonzero(counted(lab)["times"][0]).tolist()
    low, high = bounds(bucket)
    assert high > WAIT_US and low <= time.monotonic_ns() // 1000 - sent_us
    assert len(held()) == 0
    assert running.stop() == 0

"""Can a balancer of a thousand services be told, and is all of it scraped, while it forwards?"""

from __future__ import annotations

import re
import time
import urllib.request
from pathlib import Path

import pytest
from lab_running import RS1, RS2, RS3, Serve, connects
from lab_wire import eventually, inside

from dsrlb.lab.topology import VIP, Lab

SERVICES, BACKENDS = 1000, (RS1, RS2, RS3, "198.18.1.14")
PORT, DEADLINE_S = "9313", 60.0


def text() -> str:
    """Return the configuration: the lab's own service, and others at VIPs of their own."""
    vips = [str(VIP), *(f"198.18.{64 + number // 250}.{number % 250 + 1}" for number in range(1, SERVICES))]
    servers = "".join(
        f'[[service.backend]]\naddress = "{one}"\nmac = "02:00:c6:12:01:{place:02x}"\n'
        for place, one in enumerate(BACKENDS[3:], 0x14)
    )
    known = "".join(f'[[service.backend]]\naddress = "{one}"\n' for one in BACKENDS[:3])
    services = (
        f'[[service]]\nvip = "{vip}:80/tcp"\nmode = "l2dsr"\nscheduler = "rr"\n{known}{servers}'
        for vip in vips
    )
    return f'interfaces = ["e0"]\nmetrics = {PORT}\n' + "".join(services)


def test_all_of_a_thousand_services_is_scraped_while_clients_are_served(
    lab: Lab, serve: Serve, tmp_path: Path, record_property: pytest.RecordProperty
) -> None:
    file = tmp_path / "dsrlb.toml"
    file.write_text(text())
    running = serve("--force", flags=["--config", str(file)], ready=False)
    running.wait_for(r"\bready\b", DEADLINE_S)
    assert eventually(lambda: connects(lab), DEADLINE_S)
    began = time.monotonic()
    with (
        inside(lab.namespace("lb")),
        urllib.request.urlopen(f"http://127.0.0.1:{PORT}/metrics", timeout=DEADLINE_S) as answer,
    ):
        page = answer.read().decode()
    record_property("scrape_s", round(time.monotonic() - began, 3))
    print(f"a scrape took {time.monotonic() - began:.3f} s")
    counted = re.findall(r"^dsrlb_backend_packets_total\{.*\} (\d+)$", page, re.MULTILINE)
    assert len(counted) == SERVICES * len(BACKENDS)
    assert sum(map(int, counted)) >= 2
    assert running.stop() == 0

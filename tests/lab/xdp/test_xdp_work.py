"""Does the program serve real clients, in the driver and behind it?"""

from __future__ import annotations

from typing import Any

import pytest
from lab_running import RS1, RS2, RS3, Serve, flows_of, reasons, to
from lab_xdp import is_bare, there, xdp

from dsrlb.lab.topology import VIP, Lab

MODES = pytest.mark.parametrize("mode", ["native", "generic"])
SERVERS = (RS1, RS2, RS3)


@MODES
def test_real_clients_are_served_by_the_program_alone(mode: str, lab: Lab, serve: Serve, client: Any) -> None:
    ports = ["--vip", f"{VIP}:8080", "--vip", f"{VIP}:5353/udp"]
    running = serve(flags=to(*SERVERS, more=[*ports, *xdp(lab, "--xdp-mode", mode)]))
    assert there(lab).mode == mode  # type: ignore[union-attr]  # or it fails
    got = client.requests(300)
    assert got["errors"] == [] and set(got["servers"]) == {"rs1", "rs2", "rs3"}
    sent = client.upload(3_000_000)
    assert sent["sent"] == sent["received"]
    assert client.download(3_000_000)["intact"]
    assert len(client.echo(20)["servers"]) == 20
    assert running.stop() == 0
    assert sum(flows_of(running)) == 300 + 2
    assert reasons(running.stdout).get("handed_over", 0) == 0
    assert "Traceback" not in running.stderr
    assert is_bare(lab)

"""Does the program serve real clients, in the driver and behind it?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from lab_reload import DEADLINE_S
from lab_running import RS1, RS2, RS3, Serve, flows_of, reasons, to
from lab_xdp import is_bare, there, without_peer_program, xdp

from dsrlb.bpf.objects import object_path
from dsrlb.lab.topology import VIP, Lab, run

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


def test_where_the_peer_would_take_nothing_from_xdp_it_is_generic_or_refused(
    lab: Lab, serve: Serve, client: Any
) -> None:
    with without_peer_program(lab):
        running = serve(flags=to(*SERVERS, more=xdp(lab)))
        assert there(lab).mode == "generic"  # type: ignore[union-attr]  # or it fails
        assert client.requests(9)["errors"] == []
        assert running.stop() == 0
        refused = serve(flags=to(*SERVERS, more=xdp(lab, "--xdp-mode", "native")), ready=False)
        assert refused.process.wait(DEADLINE_S) == 4
        assert "peer has no XDP program" in refused.stderr and "--xdp-mode generic" in refused.stderr


@pytest.mark.parametrize("has_program", [True, False], ids=["that can be sent to", "that cannot"])
def test_frames_leave_by_another_interface(
    has_program: bool, lab: Lab, serve: Serve, client: Any, second: Callable[[str, str, str], None]
) -> None:
    second("rs1", "198.18.77.10/24", "198.18.77.11/24")
    if has_program:
        rs1 = ["ip", "-n", lab.namespace("rs1"), "link", "set", "dev", "x1"]
        run([*rs1, "xdpdrv", "obj", str(object_path("pass")), "sec", "xdp"])
    running = serve(flags=to("198.18.77.11", more=xdp(lab)))
    assert there(lab).mode == ("native" if has_program else "generic")  # type: ignore[union-attr]  # or it fails
    assert client.requests(20)["servers"] == ["rs1"] * 20
    assert ("x0" in running.stderr) == (not has_program)
    assert running.stop() == 0
    assert reasons(running.stdout).get("handed_over", 0) == 0

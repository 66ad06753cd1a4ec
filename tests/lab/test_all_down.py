"""Is a client refused at once where no server can take its flow, and the service says so?"""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from lab_reload import service
from lab_running import Serve, reasons
from lab_wire import inside

from dsrlb.lab.topology import VIP, VIP6, Lab

SILENT = "198.18.1.77"  # nobody has it
WITHIN_S = 2
FAMILIES = (socket.AF_INET, VIP), (socket.AF_INET6, VIP6)


def is_refused(lab: Lab, family: int, kind: int, to: tuple[str, int]) -> bool:
    with inside(lab.namespace("client")):
        sock = socket.socket(family, kind)
    with sock:
        sock.settimeout(WITHIN_S)
        try:
            sock.connect(to)
            sock.send(b"who is there?")
            sock.recv(1)
        except ConnectionRefusedError:
            return True
    return False


@pytest.mark.both_engines(xdp_mode=["native"])
def test_who_opens_a_flow_is_refused_at_once(lab: Lab, serve: Serve, tmp_path: Path) -> None:
    services = [
        service(SILENT, vip=vip, port=port, more='on_all_down = "reject"\n')
        for _, vip in FAMILIES
        for port in ("80/tcp", "53/udp")
    ]
    file = tmp_path / "dsrlb.toml"
    file.write_text('interfaces = ["e0"]\n' + "".join(services))
    running = serve(flags=["--config", str(file), "--force"])
    for family, vip in FAMILIES:
        assert is_refused(lab, family, socket.SOCK_STREAM, (str(vip), 80))
        assert is_refused(lab, family, socket.SOCK_DGRAM, (str(vip), 53))
    assert running.stop() == 0
    assert reasons(running.stdout)["refused"] == 4

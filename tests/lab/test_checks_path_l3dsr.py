"""Does a check by the tunnel tell a server that does not unwrap from one that lacks the VIP?"""

from __future__ import annotations

from pathlib import Path

import pytest
from lab_clients import clients_of
from lab_engine import PACKET, Engine
from lab_faults import Fault, config, decapsulation_gone, require_left_in_time, vip_gone
from lab_running import Serve

from dsrlb.lab.topology import Lab

FAULTS: dict[Fault, str] = {decapsulation_gone: "no_decapsulation", vip_gone: "no_vip"}


@pytest.fixture
def lab(l3_lab: Lab) -> Lab:
    return l3_lab


@pytest.mark.both_engines(xdp_mode=["native"])
def test_a_server_that_fails_behind_the_tunnel_is_left_in_time_by_name(
    lab: Lab, serve: Serve, engine: Engine, tmp_path: Path
) -> None:
    with clients_of(lab) as clients:
        running = serve(flags=config(lab, tmp_path))
        for fault, word in FAULTS.items():
            if engine == PACKET or fault is decapsulation_gone:
                require_left_in_time(clients, running, fault, word)
        assert running.stop() == 0

"""Do connections live through reloads in the other modes, too?"""

from __future__ import annotations

from typing import Any

import pytest
from lab_reload import Start, Write, all_answer, holding, packet_sockets, reload, service
from lab_wire import eventually

from dsrlb.lab.topology import Lab

CONNECTIONS, DEADLINE_S = 50, 30


@pytest.fixture(params=["l3_lab", "inline_lab"])
def lab(request: pytest.FixtureRequest) -> Lab:
    standing: Lab = request.getfixturevalue(request.param)
    return standing


@pytest.mark.both_engines(xdp_mode=["native"])
def test_servers_that_come_and_go_break_no_connection_of_others(
    lab: Lab, start: Start, write: Write, client: Any
) -> None:
    vip = lab.vips[0]
    one, two, three = map(str, lab.server_addresses())
    write(service(one, two, vip=vip, mode=lab.mode), interfaces=lab.interfaces)
    running = start()
    sockets = packet_sockets(lab)
    with holding(lab, CONNECTIONS) as held:
        assert {one.server for one in held} == {"rs1", "rs2"}
        for backends in ([one, two, three], [f"{one},0", two], [one, f"{two},3", three], [one, two]) * 2:
            for port in ("80", "*"):
                other = service(three, vip="198.18.10.7", port=port, mode=lab.mode)
                write(service(*backends, vip=vip, mode=lab.mode), other, interfaces=lab.interfaces)
                reload(running)
                all_answer(held)
        write(service(three, vip=vip, mode=lab.mode), interfaces=lab.interfaces)
        reload(running)
        assert set(client.requests(4, host=vip)["servers"]) == {"rs3"}
    assert eventually(lambda: packet_sockets(lab) == sockets, DEADLINE_S)
    assert running.stop() == 0
    assert "Traceback" not in running.stderr

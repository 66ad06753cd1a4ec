"""Do two balancers with the same file pick the same server, so that one can be lost and nobody notices?"""

from __future__ import annotations

import signal
import socket
import struct
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from lab_reload import DEADLINE_S, REQUEST, all_answer, holding, service
from lab_wire import TEST_PREFIX, inside
from lab_xdp import detach, instances

from dsrlb.lab import xdp
from dsrlb.lab.balancer import Balancer, serve
from dsrlb.lab.ecmp import lead_to
from dsrlb.lab.lifecycle import standing
from dsrlb.lab.topology import CLIENT, MORE_CLIENTS, Lab, link_bytes, run

SOURCES = [(source, port) for source in (CLIENT, *MORE_CLIENTS) for port in range(20_001, 20_005)]
FLOWS = 120
CHECK = '[service.check]\nkind = "icmp"\ninterval = 0.5\ntimeout = 0.5\n'


@pytest.fixture(scope="module")
def lab(shared_directories: None) -> Iterator[Lab]:
    with standing(Lab(prefix=f"{TEST_PREFIX}two-", mode="l3dsr", balancers=2, xdp=True)) as it:
        yield it


@pytest.fixture
def balancers(
    lab: Lab, tmp_path: Path, engine_name: str, request: pytest.FixtureRequest
) -> Iterator[dict[str, Balancer]]:
    """Both at work, with the same file; the router leads to both."""
    file, scheduler = tmp_path / "dsrlb.toml", request.node.callspec.params.get("scheduler", "maglev")
    servers = service(*map(str, lab.server_addresses()), vip=lab.vips[0], mode="l3dsr", scheduler=scheduler)
    file.write_text(
        'interfaces = ["e0"]\n' + servers.replace("[[service.backend]]", f"{CHECK}[[service.backend]]", 1)
    )
    running: dict[str, Balancer] = {}
    lead_to(lab, lab.balancer_names)
    try:
        for role in lab.balancer_names:
            chosen = xdp.flags(lab) if engine_name == "xdp" else []
            running[role] = serve(lab, ["--config", str(file), "--instance", role, *chosen], role)
        yield running
    finally:
        for one in running.values():
            one.stop()
        for instance in instances(lab):
            detach(lab, instance)


def server_of(lab: Lab, source: tuple[object, int]) -> str:
    """Return who answers a flow of this source; it leaves nothing behind that would keep its port."""
    with inside(lab.namespace("client")):
        one = socket.socket()
    with one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # ends by a reset
        one.settimeout(DEADLINE_S)
        one.bind((str(source[0]), source[1]))
        one.connect((str(lab.vips[0]), 80))
        one.sendall(REQUEST)
        got = b""
        while not got.endswith(b"\n") or b"\r\n\r\n" not in got:
            piece = one.recv(4096)
            assert piece
            got += piece
    return got.partition(b"\r\n\r\n")[2].split()[0].decode()


def picks(lab: Lab, role: str) -> list[str]:
    """Return the server of each flow by the choice of one balancer."""
    lead_to(lab, [role])
    return [server_of(lab, source) for source in SOURCES]


@pytest.mark.parametrize(
    ("engine_name", "scheduler"), [("packet", "maglev"), ("packet", "hash"), ("xdp", "maglev")]
)
def test_both_pick_the_same_server_also_when_the_same_one_has_failed(
    engine_name: str, scheduler: str, lab: Lab, balancers: dict[str, Balancer]
) -> None:
    first, second = (picks(lab, role) for role in lab.balancer_names)
    assert first == second and set(first) == set(lab.server_names)
    with ExitStack() as undo:
        cable = ["ip", "-n", lab.namespace("router"), "link", "set", "s2"]
        run([*cable, "down"])
        undo.callback(run, [*cable, "up"])
        for one in balancers.values():
            one.wait_for("198.18.22.2 of .* is down")
        first, second = (picks(lab, role) for role in lab.balancer_names)
    assert first == second and set(first) == {"rs1", "rs3"}


@pytest.mark.parametrize("engine_name", ["packet", "xdp"])
def test_one_of_two_is_lost_and_no_connection_breaks(
    engine_name: str, lab: Lab, balancers: dict[str, Balancer]
) -> None:
    lead_to(lab, lab.balancer_names)
    before = [link_bytes(lab, role, "e0").received for role in lab.balancer_names]
    with holding(lab, FLOWS) as held:
        after = [link_bytes(lab, role, "e0").received for role in lab.balancer_names]
        assert all(now > then + 5000 for then, now in zip(before, after, strict=True)), "both have flows"
        balancers["lb"].stop(signal.SIGKILL)
        lead_to(lab, ["lb2"])
        all_answer(held)

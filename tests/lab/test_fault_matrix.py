"""Is each thing that goes wrong named, by checks and by the doctor, and nothing when all is well?"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from lab_clients import PORT, Clients, clients_of
from lab_faults import TCP
from lab_matrix import FAULTS
from lab_reload import service
from lab_wire import TEST_PREFIX, eventually

from dsrlb.admin.asking import ask
from dsrlb.lab import balancer
from dsrlb.lab.balancer import Balancer
from dsrlb.lab.lifecycle import standing
from dsrlb.lab.topology import Lab

WITHIN_S = 60.0
HEALTH = {
    "vip_missing": "no_vip",
    "listener_elsewhere": "not_on_vip",
    "no_listener": "refused",
    "unreachable": "no_answer unreachable unresolved",
}  # the others are called as the fault is


@pytest.fixture(scope="module", params=FAULTS)
def lab(request: pytest.FixtureRequest, shared_directories: None) -> Iterator[Lab]:
    with standing(Lab(prefix=f"{TEST_PREFIX}m-", mode=request.param)) as it:
        yield it


@pytest.fixture(scope="module")
def clients(lab: Lab) -> Iterator[Clients]:
    with clients_of(lab) as it:
        yield it


@pytest.fixture(scope="module")
def config(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Path:
    servers = map(str, lab.server_addresses())
    about = service(*servers, vip=lab.vips[0], port=PORT, mode=lab.mode, more=TCP)
    file = tmp_path_factory.mktemp("matrix") / "dsrlb.toml"
    file.write_text(f'interfaces = ["e0"]\n{about}')
    return file


@pytest.fixture(scope="module")
def running(lab: Lab, clients: Clients, config: Path) -> Iterator[Balancer]:
    it = balancer.serve(lab, ["--config", str(config)])
    yield it
    assert it.stop() == 0


def words_of(running: Balancer, backend: object) -> set[str]:
    """What ``dsrlb show health`` says of a server: why its last check failed, and what is remarked."""
    (row,) = health(running, backend)
    failed = {row["last"]["word"]} - {"ok"} if row["last"] else {"unasked"}
    return failed | {one["word"] for one in row["remarks"]}


def health(running: Balancer, backend: object) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = ask(running.admin, {"do": "show", "what": "health", "backend": str(backend)})
    return rows


def is_well(running: Balancer, clients: Clients, lasting: frozenset[str]) -> bool:
    """Whether all servers are up, and nothing is remarked but what is still remembered."""
    clients.greet()
    return all(words_of(running, one) <= lasting for one in clients.lab.server_addresses())


def test_each_fault_is_named_by_the_check_s_reason(lab: Lab, clients: Clients, running: Balancer) -> None:
    rs1 = lab.server_addresses()[0]
    seen: list[str] = []
    for fault, inject in FAULTS[lab.mode].items():
        assert eventually(lambda: is_well(running, clients, REMEMBERED), WITHIN_S), running.stderr
        words = set(HEALTH.get(fault, fault).split())
        with inject(clients):
            began = time.monotonic()
            eventually(lambda: clients.greet() or words_of(running, rs1) & words, WITHIN_S)  # noqa: B023
            seen.append(f"{fault:20} {time.monotonic() - began:6.1f} s  {words_of(running, rs1)}")
            print(seen[-1])


REMEMBERED = frozenset(("arp_ignore", "arp_announce", "second_owner", "server_mac"))

"""Is each thing that goes wrong named, by checks and by the doctor, and nothing when all is well?"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from lab_clients import PORT, Clients, clients_of
from lab_faults import TCP
from lab_matrix import FAULTS
from lab_wire import TEST_PREFIX, eventually

from dsrlb.admin.asking import ask
from dsrlb.lab import balancer
from dsrlb.lab.balancer import Balancer, dsrlb
from dsrlb.lab.lifecycle import standing
from dsrlb.lab.topology import Lab
from dsrlb.lab.topology import inside as command_inside

WITHIN_S = DOCTOR_WITHIN_S = 60.0
HEALTH = {
    "vip_missing": {"no_vip"},
    "listener_elsewhere": {"not_on_vip"},
    "no_listener": {"refused"},
    "unreachable": {"no_answer", "unreachable", "unresolved"},
}  # the others are called as the fault is
REMEMBERED = {"arp_ignore", "arp_announce", "second_owner", "server_mac"}  # remarks that last a while


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
    lines = f'interfaces = ["e0"]\n[[service]]\nvip = "{lab.vips[0]}:{PORT}"\nmode = "{lab.mode}"\n{TCP}'
    for name in lab.server_names:
        lines += f'[[service.backend]]\nname = "{name}"\naddress = "{lab.address(name)}"\n'
    file = tmp_path_factory.mktemp("matrix") / "dsrlb.toml"
    file.write_text(lines)
    return file


@pytest.fixture(scope="module")
def running(lab: Lab, clients: Clients, config: Path) -> Iterator[Balancer]:
    it = balancer.serve(lab, ["--config", str(config)])
    yield it
    assert it.stop() == 0


class Doctor:
    """The doctor at work beside the running balancer, asking each server about itself."""

    def __init__(self, clients: Clients, running: Balancer, config: Path) -> None:
        self.clients, lab = clients, clients.lab
        words = ["--config", str(config), "--admin", str(running.admin), "--json"]
        command = [*dsrlb("doctor"), *words, "--via", f"netns:{lab.prefix}{{name}}"]
        inside = command_inside(lab.namespace("lb"), *command)
        self.until = time.monotonic() + DOCTOR_WITHIN_S
        self.process = subprocess.Popen(inside, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def wrong(self) -> dict[str, str]:
        """Wait for what it finds wrong: by name, what it says."""
        while (ended := self._ended()) is None:
            self.clients.greet()  # else servers' queues fill with checks
        said, complaints = ended
        found = [one for one in json.loads(said) if one["verdict"] == "wrong"]
        assert self.process.returncode == (1 if found else 0), complaints
        return {one["name"]: f"{one['where']}: {one['says']}" for one in found}

    def _ended(self) -> tuple[str, str] | None:
        assert time.monotonic() < self.until, "the doctor goes on and on"
        try:
            return self.process.communicate(timeout=0.1)
        except subprocess.TimeoutExpired:
            return None


def words_of(running: Balancer, backend: object) -> set[str]:
    """What ``dsrlb show health`` says of a server: why its last check failed, and what is remarked."""
    asked = {"do": "show", "what": "health", "backend": str(backend)}
    rows: list[dict[str, Any]] = ask(running.admin, asked)
    failed = {row["last"]["word"] if row["last"] else "unasked" for row in rows} - {"ok"}
    return failed | {one["word"] for row in rows for one in row["remarks"]}


def is_well(running: Balancer, clients: Clients, but: set[str]) -> bool:
    """Whether all servers pass, and nothing is remarked but what is still remembered."""
    clients.greet()
    return all(words_of(running, one) <= but for one in clients.lab.server_addresses())


def test_nothing_is_named_where_all_is_well(clients: Clients, running: Balancer, config: Path) -> None:
    assert eventually(lambda: is_well(running, clients, set()), WITHIN_S), running.stderr
    for _ in range(2):
        assert Doctor(clients, running, config).wrong() == {}
        assert is_well(running, clients, set())


def test_each_fault_is_named_by_the_health_check_and_by_the_doctor(
    lab: Lab, clients: Clients, running: Balancer, config: Path
) -> None:
    rs1, missed = lab.server_addresses()[0], []
    for fault, inject in FAULTS[lab.mode].items():
        assert eventually(lambda: is_well(running, clients, REMEMBERED), WITHIN_S), running.stderr
        words, began = HEALTH.get(fault, {fault}), time.monotonic()
        with inject(clients):
            doctor = Doctor(clients, running, config)

            def is_named(words: set[str] = words) -> bool:
                clients.greet()
                return bool(words_of(running, rs1) & words)

            is_named_by_health, took_s = eventually(is_named, WITHIN_S), time.monotonic() - began
            wrong = doctor.wrong()
        print(f"{lab.mode} {fault} {took_s:.1f} s, {time.monotonic() - began:.1f} s; {wrong}")
        missed += [] if is_named_by_health else [f"{fault} by health"]
        missed += [] if fault in wrong else [f"{fault} by the doctor, who says {wrong}"]
    assert not missed, missed

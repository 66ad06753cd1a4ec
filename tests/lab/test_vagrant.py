"""Do the scripts that provision the virtual machines make a network that balances?

The machines are namespaces here, plugged together and addressed as the Vagrantfile says; on them run the
very scripts of ``vagrant/provision``, and the lines of ``vagrant/README.md``.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_interface
from pathlib import Path

import pytest
from lab_wire import TEST_PREFIX

from dsrlb.lab.balancer import serve
from dsrlb.lab.client import ask
from dsrlb.lab.commands import inside
from dsrlb.lab.lifecycle import standing
from dsrlb.lab.topologies import BY_MODE
from dsrlb.lab.topologies.base import Cable, End, Network
from dsrlb.lab.topology import Lab

ROOT = Path(__file__).parents[2]
README = (ROOT / "vagrant/README.md").read_text()
SWITCHES = {"outside": "switch", "front": "switch2", "remote": "switch3"}
MODES = ["l2dsr", "l3dsr"]


@dataclass(frozen=True)
class Machine:
    role: str
    mode: str
    addresses: dict[str, str]  # by network, in the order of the interfaces


def machines() -> dict[str, Machine]:
    """What the Vagrantfile's table says."""
    table = (ROOT / "vagrant/Vagrantfile").read_text().partition("MACHINES = {")[2].partition("\n}\n")[0]
    rows = re.split(r'^  "(\w+)" +=> ', table, flags=re.MULTILINE)[1:]
    return {
        name: Machine(
            role=re.findall(r'role: "(\w+)"', row)[0],
            mode=next(iter(re.findall(r'mode: "(\w+)"', row)), ""),
            addresses=dict(re.findall(r'"(\w+)" +=> "([\d.]+)"', row)),
        )
        for name, row in zip(rows[::2], rows[1::2], strict=True)
    }


class Machines(Lab):
    """A lab with the Vagrantfile's machines: interfaces are eth1 and on, with IPv4 addresses only."""

    @property
    def network(self) -> Network:
        cables = [
            Cable(
                End(name, f"eth{number}", addresses=(ip_interface(f"{address}/24"),)),
                End(SWITCHES[network], f"p-{name}"),
                1500,
            )
            for name, machine in machines().items()
            for number, (network, address) in enumerate(machine.addresses.items(), 1)
        ]
        return Network(tuple(cables), routes=(), switches=tuple(SWITCHES.values()), routers=())

    @property
    def topology(self):
        return BY_MODE["inline"]  # the one whose servers are not set up by the lab


def on(lab: Lab, role: str, line: str) -> subprocess.CompletedProcess[str]:
    """Run a line of shell on a machine."""
    path = f"{lab.run_directory}:{os.environ['PATH']}"
    return subprocess.run(
        inside(lab.namespace(role), "sh", "-c", line),
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )


def lines_to_paste(role: str) -> list[str]:
    """The README's lines for a machine, without ``sudo`` and without the comment behind."""
    found = re.findall(rf"^vagrant ssh {role} -c '(.*?)'", README, re.MULTILINE)
    return [line.removeprefix("sudo ") for line in found]


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with standing(Machines(prefix=f"{TEST_PREFIX}v-", ipv6=True)) as it:
        dsrlb = it.run_directory / "dsrlb"
        dsrlb.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m dsrlb "$@"\n')
        dsrlb.chmod(0o755)
        for name, machine in machines().items():
            script = ROOT / "vagrant/provision" / f"{machine.role}.sh"
            for _ in range(2):  # at every start of a machine: it must not mind what is there already
                done = on(it, name, f"{script} {machine.mode}")
                assert done.returncode == 0, done.stdout + done.stderr
        yield it


def serve_line(mode: str) -> list[str]:
    [line] = [line for line in lines_to_paste("lb") if f"serve --mode {mode}" in line]
    return shlex.split(line)[2:]


def by_ipv6(flags: list[str]) -> list[str]:
    vips = {"198.18.1.100:80": "[2001:db8:1::100]:80", "198.18.10.1:80": "[2001:db8:10::1]:80"}
    return [vips.get(word, word) for word in flags]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("version", [4, 6])
def test_the_readmes_line_balances_over_the_provisioned_servers(lab: Lab, mode: str, version: int) -> None:
    flags = serve_line(mode) if version == 4 else by_ipv6(serve_line(mode))
    names = [name for name, machine in machines().items() if machine.mode == mode]
    vip = flags[flags.index("--vip") + 1].rpartition(":")[0].strip("[]")
    balancer = serve(lab, flags)
    try:
        answers = ask(lab, "requests", host=vip, count=10 * len(names))
    finally:
        code = balancer.stop()
    assert (answers["errors"], code) == ([], 0)
    assert Counter(answers["servers"]) == dict.fromkeys(names, 10)


def test_the_readmes_file_balances_all_services_side_by_side(lab: Lab) -> None:
    [line] = [line for line in lines_to_paste("lb") if "--config" in line]
    balancer = serve(lab, shlex.split(line.replace("/vagrant/", f"{ROOT}/vagrant/"))[2:])
    vips = re.findall(
        r'^vip = "\[?([0-9a-f.:]+?)\]?:80/tcp"', (ROOT / "vagrant/dsrlb.toml").read_text(), re.M
    )
    try:
        answers = {vip: ask(lab, "requests", host=vip, count=4)["servers"] for vip in vips}
    finally:
        assert balancer.stop() == 0
    assert {vip: sorted(servers) for vip, servers in answers.items()} == {
        "198.18.1.100": ["rs1", "rs1", "rs2", "rs2"],
        "2001:db8:1::100": ["rs1", "rs1", "rs2", "rs2"],
        "198.18.10.1": ["rs3"] * 4,
        "2001:db8:10::1": ["rs3"] * 4,
    }


@pytest.mark.parametrize("version", [4, 6])
def test_the_servers_see_the_client_itself(lab: Lab, version: int) -> None:
    flags = serve_line("l2dsr") if version == 4 else by_ipv6(serve_line("l2dsr"))
    balancer = serve(lab, flags)
    try:
        vip = flags[flags.index("--vip") + 1].rpartition(":")[0].strip("[]")
        bodies = ask(lab, "requests", host=vip, count=1)["bodies"]
    finally:
        balancer.stop()
    assert [body.split()[1] for body in bodies] == ["198.18.0.2" if version == 4 else "2001:db8::2"]


def test_the_readmes_lines_for_a_server_say_what_it_claims(lab: Lab) -> None:
    verify, undo, setup = lines_to_paste("rs1")
    assert on(lab, "rs1", verify).returncode == 0
    assert on(lab, "rs1", undo).returncode == 0
    assert on(lab, "rs1", verify).returncode == 1
    assert on(lab, "rs1", setup).returncode == 0
    assert on(lab, "rs1", verify).returncode == 0


def test_a_machine_without_its_network_is_told_so(lab: Lab) -> None:
    done = on(lab, "client", str(ROOT / "vagrant/provision/lb.sh"))
    assert done.returncode != 0
    assert "no interface of this machine has an address in 198.18.1.0/24" in done.stderr

"""Does the doctor name, at the balancer, what a real tunnel device of a server has wrong?"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from lab_fork import run_forked
from lab_reload import service
from uml_machine import Machine, tool
from uml_ssh import reached_by_ssh

from dsrlb.lab.topology import Lab

VIP, ROUTE = "198.18.10.1", "route replace default via 198.18.21.1 dev e0"
BACK = f"ip address replace {VIP}/32 dev tunl0 && ip link set tunl0 up"
# What breaks it, what mends it, the fault's name, and the mending that is said.
FAULTS = {
    "strict": (
        "sysctl -qw net.ipv4.conf.tunl0.rp_filter=1",
        "sysctl -qw net.ipv4.conf.tunl0.rp_filter=0",
        "rp_filter",
        "sysctl -w net.ipv4.conf.tunl0.rp_filter=2",
    ),
    "loose, without an address": (
        f"sysctl -qw net.ipv4.conf.tunl0.rp_filter=2 && ip address del {VIP}/32 dev tunl0",
        f"sysctl -qw net.ipv4.conf.tunl0.rp_filter=0 && {BACK}",
        "rp_filter",
        f"ip address add {VIP}/32 dev tunl0",
    ),
    "off": ("ip link set tunl0 down", BACK, "no_decapsulation", "ip link set tunl0 up"),
    "no ipip": (
        "rmmod ipip",
        f"modprobe ipip && {BACK}",
        "no_decapsulation",
        "dsrlb backend setup --mode l3dsr",
    ),
    "whole segments": (f"ip {ROUTE}", f"ip {ROUTE} advmss 1420", "mtu", f"ip -4 {ROUTE} advmss 1440"),
}


@pytest.fixture(scope="module")
def server(lab: Lab, machine: Machine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """One that is set up, for VIPs of both families, and reached by ssh."""
    vips = [word for vip in lab.vips for word in ("--vip", str(vip))]
    tool(machine, "python", "setup", "--mode", "l3dsr", "--decap", "kernel", *vips)
    with reached_by_ssh(machine, tmp_path_factory.mktemp("ssh")):
        yield machine
    tool(machine, "python", "undo", "--mode", "l3dsr", *vips)


@pytest.fixture
def file(lab: Lab, tmp_path: Path) -> Path:
    about = service(str(lab.address("rs1")), vip=lab.vips[0], mode=lab.mode)
    (tmp_path / "dsrlb.toml").write_text(f'interfaces = ["e0"]\n{about}')
    return tmp_path / "dsrlb.toml"


def wrong(lab: Lab, file: Path) -> dict[str, str]:
    """What the doctor finds wrong, with what it says that mends it."""
    said = run_forked(
        lab.namespace("lb"), "doctor", "--config", str(file), "--json", "--via", "ssh:root@{address}"
    )
    assert said.stderr == ""
    rows = [one for one in json.loads(said.stdout) if one["verdict"] == "wrong"]
    assert said.returncode == bool(rows)
    return {one["name"]: one["mend"] for one in rows}


def test_nothing_is_wrong_with_a_server_that_is_set_up(lab: Lab, server: Machine, file: Path) -> None:
    assert wrong(lab, file) == {}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_wrong_is_named_with_what_mends_it(lab: Lab, server: Machine, file: Path, fault: str) -> None:
    spoil, mend, name, said = FAULTS[fault]
    server.run("sh", "-c", spoil)
    try:
        found = wrong(lab, file)
    finally:
        server.run("sh", "-c", mend)
    assert said in found[name]
    assert set(found) <= {name, "end_to_end"}

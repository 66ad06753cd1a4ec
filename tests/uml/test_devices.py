"""Are servers that are reached by VLAN or bonding, or hold VIPs on a dummy, set up as well as others?

Within the UML is another node, that has the kernel's own ``ipip`` for a balancer::

    peer: client 198.18.50.1, 198.18.31.1 ═══ VLAN 100, or two cables to a bond ═══ 198.18.31.2, the server
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from lab_wire import eventually
from uml_machine import Machine, have_tunnels, snapshot, tool

VIP = "198.18.10.1"
L3DSR = ("--mode", "l3dsr", "--vip", VIP)
IN_PEER = ("ip", "netns", "exec", "peer")
LINKS = {
    "vlan": (
        "s0.100",
        """
        modprobe 8021q
        ip link add s0 type veth peer name c0 netns peer
        ip -n peer link set c0 up
        ip link set s0 up
        ip -n peer link add link c0 name way type vlan id 100
        ip link add link s0 name s0.100 type vlan id 100
        """,
    ),
    "bond": (
        "bond0",
        """
        modprobe bonding max_bonds=0
        ip -n peer link add name way type bridge
        ip link add bond0 type bond mode active-backup miimon 20
        for k in 1 2; do
            ip link add s$k type veth peer name c$k netns peer
            ip -n peer link set c$k master way up
            ip link set s$k master bond0
        done
        """,
    ),
}
ADDRESSES = """
    ip -n peer link set lo up
    ip -n peer link set way up
    ip -n peer address add 198.18.31.1/24 dev way
    ip -n peer address add 198.18.50.1/32 dev lo
    ip link set DEVICE up
    ip address add 198.18.31.2/24 dev DEVICE
    ip route replace default via 198.18.31.1 dev DEVICE
    ip -n peer link add name wrap type ipip local 198.18.31.1 remote 198.18.31.2
    ip -n peer link set wrap up
"""
GONE = """
    ip route replace default via 198.18.21.1 dev e0
    ip netns del peer
    for one in s0 s1 s2 bond0 dummy0; do ip link del $one 2>/dev/null || :; done
"""


@pytest.fixture(params=LINKS)
def device(request: pytest.FixtureRequest, machine: Machine) -> Iterator[str]:
    """The device by which the server is reached."""
    name, lines = LINKS[request.param]
    have_tunnels(machine)
    machine.run("ip", "netns", "add", "peer")
    try:
        machine.run("sh", "-ec", lines + ADDRESSES.replace("DEVICE", name))
        yield name
    finally:
        machine.run("sh", "-c", GONE)


def settled(machine: Machine) -> list[str]:
    """What is there, once links and addresses that are new have come to rest."""
    seen = [snapshot(machine)]

    def rests() -> bool:
        seen.append(snapshot(machine))
        return seen[-1] == seen[-2]

    assert eventually(rests, 60)
    return seen[-1]


def is_answered(machine: Machine) -> bool:
    ask = ("curl", "-sS", "--interface", "198.18.50.1", "--max-time", "10", f"http://{VIP}/")
    return machine.run(*IN_PEER, *ask, code=None) == "rs1 198.18.50.1\n"


def served(machine: Machine, device: str) -> bool:
    """Set the server up; return whether the client is answered."""
    assert f"dev {device} advmss 1420" in tool(machine, "python", "setup", *L3DSR, "--decap", "kernel")
    machine.run(*IN_PEER, "ip", "route", "add", VIP, "dev", "wrap")
    return eventually(lambda: is_answered(machine), 60)


def test_clients_are_served_by_ipip_over_it_and_it_is_given_back(machine: Machine, device: str) -> None:
    before = settled(machine)
    assert served(machine, device)
    tool(machine, "python", "undo", *L3DSR)
    assert settled(machine) == before


@pytest.mark.parametrize("device", ["bond"], indirect=True)
def test_a_bond_that_loses_a_cable_serves_on(machine: Machine, device: str) -> None:
    assert served(machine, device)
    for cable, other in (("c1", "s2"), ("c2", "s1")):
        machine.run(*IN_PEER, "ip", "link", "set", cable, "down")
        active = ("grep", "-x", other, f"/sys/class/net/{device}/bonding/active_slave")
        assert eventually(lambda active=active: machine.run(*active, code=None), 60)
        assert eventually(lambda: is_answered(machine), 60)
        machine.run(*IN_PEER, "ip", "link", "set", cable, "up")
    tool(machine, "python", "undo", *L3DSR)


def test_a_vip_that_a_dummy_has_already_is_kept_quiet_and_stays(machine: Machine, device: str) -> None:
    lines = f"modprobe dummy; ip link add dummy0 type dummy; ip address add {VIP}/32 dev dummy0"
    machine.run("sh", "-ec", f"{lines}; ip link set dummy0 up")
    before = settled(machine)
    words = ("--mode", "l2dsr", "--vip", VIP)
    said = tool(machine, "python", "setup", *words)
    assert "warning" not in said
    assert "problem" not in tool(machine, "python", "verify", *words)
    machine.run(*IN_PEER, "arping", "-c", "1", "-w", "2", "-I", "way", VIP, code=1)
    machine.run(*IN_PEER, "ip", "route", "add", VIP, "via", "198.18.31.2")
    assert eventually(lambda: is_answered(machine), 60)
    tool(machine, "python", "undo", *words)
    assert settled(machine) == before

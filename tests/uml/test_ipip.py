"""Do both engines reach a server by real tunnel devices of its kernel: ``ipip``, ``sit``, ``ip6_tunnel``?"""

from __future__ import annotations

from lab_engine import EACH, Engine
from lab_reload import service
from lab_wire import counters
from uml_machine import TUNNELS, Machine, have_tunnels, snapshot, tool

from dsrlb.lab.balancer import serve
from dsrlb.lab.client import ask
from dsrlb.lab.counters import checksum_errors, counted_in
from dsrlb.lab.topology import Lab

BYTES = 1_000_000
# Versions of the VIP and of the server's address: the port of a service of these, and the device that takes
# the outer header off.
WAYS = {(4, 4): (80, "tunl0"), (6, 4): (8080, "sit0"), (4, 6): (8080, "ip6tnl0"), (6, 6): (80, "ip6tnl0")}


def taken_out(machine: Machine) -> dict[str, int]:
    """How many packets each tunnel device has taken out of a tunnel so far."""
    said = machine.run("cat", *(f"/sys/class/net/{name}/statistics/rx_packets" for name in TUNNELS))
    return dict(zip(TUNNELS, map(int, said.split()), strict=True))


def config(lab: Lab) -> str:
    """A service for each way."""
    services = [
        service(str(lab.server_addresses(server)[0]), vip=lab.vips[vip == 6], port=port, mode=lab.mode)
        for (vip, server), (port, _) in WAYS.items()
    ]
    return 'interfaces = ["e0"]\n' + "".join(services)


def exchange(lab: Lab, machine: Machine, engine: Engine) -> None:
    """Send and fetch by each way."""
    file = lab.run_directory / "ways.toml"
    file.write_text(config(lab))
    balancer = serve(lab, ["--config", str(file), *engine.flags(lab)])
    try:
        for (vip, _), (port, device) in WAYS.items():
            before = taken_out(machine)
            came = ask(lab, "exchange", host=str(lab.vips[vip == 6]), port=port, count=2, size_bytes=BYTES)
            assert (came["errors"], came["servers"]) == ([], ["rs1", "rs1"])
            grown = {name: count - before[name] for name, count in taken_out(machine).items()}
            assert grown[device] == sum(grown.values()) > 0
        told = counters(balancer)
    finally:
        balancer.stop()
    assert told["forwarded"] > 8 * BYTES / 65_536  # at least that many segments, however large
    assert not told["send_failed"] + told["no_decapsulation"] + told["tunnel_error"]


def test_a_server_with_its_kernel_s_tunnels_is_reached_by_both_engines_and_given_back_byte_for_byte(
    lab: Lab, machine: Machine
) -> None:
    vips = [word for vip in lab.vips for word in ("--vip", str(vip))]
    have_tunnels(machine)
    before = snapshot(machine)
    tool(machine, "python", "setup", "--mode", "l3dsr", "--decap", "kernel", *vips)
    for engine in EACH[:2]:
        with engine.at_hand(lab):
            exchange(lab, machine, engine)
    files = ("/proc/net/snmp", "/proc/net/netstat", "/proc/net/snmp6")
    assert checksum_errors(counted_in(machine.run("cat", *files))) == {}
    assert snapshot(machine) != before
    tool(machine, "python", "undo", "--mode", "l3dsr", *vips)
    assert snapshot(machine) == before

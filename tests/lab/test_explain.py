"""Is what dsrlb explain says what the wire then carries, on each engine and in each mode?"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
from lab_reload import Start, Write, service
from lab_running import RS1, RS2, RS3
from lab_wire import Inject, Tap, eventually
from scapy.layers.inet import IP, TCP
from scapy.layers.l2 import Ether
from scapy.utils import wrpcap

from dsrlb.admin.asking import ask
from dsrlb.lab.balancer import Balancer, run_dsrlb
from dsrlb.lab.topology import VIP, Lab, mac

pytestmark = pytest.mark.both_engines(xdp_mode=["native"])

PACKETS = 250
CLIENTS = [f"198.18.0.{host}" for host in (200, 201, 202)]  # nobody: whatever servers answer, nobody resets
FLAGS = "S", "S", "S", "A", "PA", "FA"
SERVERS = RS1, f"{RS2},2", RS3
BEHIND = "".join(f'[[service.backend]]\naddress = "{one}"\nport = 80\n' for one in (RS1, RS2))
PLACES = [f"{port}/tcp" for port in (80, 81, 82, 83, 85, 88)] + ["84/udp", "86/udp", "99/tcp"]


def services() -> list[str]:
    """Return services of all modes; 88: its clients stay, 99: there is none."""
    return [
        service(*SERVERS, port=80, scheduler="wrr"),
        service(*SERVERS, port=81, scheduler="wlc"),
        service(*SERVERS, port=82, scheduler="maglev"),
        service(*SERVERS, port=83, scheduler="hash"),
        service(*SERVERS, port="84/udp", scheduler="rr"),
        service(*SERVERS, port=85, mode="l3dsr", scheduler="maglev"),
        service(*SERVERS, port="86/udp", mode="l3dsr", scheduler="wrr", more='encap = "gue"\n'),
        service(port=87, mode="inline", scheduler="wrr", more="snat = true\n") + BEHIND,
        service(*SERVERS, port=88, scheduler="lc", more="persist = 300\n"),
    ]


def explained(running: Balancer, **words: Any) -> Any:
    return ask(running.admin, {"do": "explain", **words})


def counters(running: Balancer) -> dict[str, int]:
    return {row["reason"]: row["frames"] for row in ask(running.admin, {"do": "show", "what": "counters"})}


def met(running: Balancer, wire: Tap, inject: Inject, words: dict[str, Any]) -> Any:
    """Have a packet explained, send it, and wait until it has met what was said; return that."""
    row = explained(running, **words)
    before = counters(running) if row["out"] is None else {}
    inject(bytes.fromhex(row["frame"]))
    if row["out"] is None:
        moved = before.get(row["reason"], 0) + 1
        assert eventually(lambda: counters(running).get(row["reason"], 0) == moved, 10), row["reason"]
    else:
        leaves = bytes.fromhex(row["out"]["frame"])
        wire.until(lambda: leaves in wire.sent, 10)
        wire.sent.clear()
    return row


def test_random_packets_to_services_of_all_modes_leave_as_explained(
    lab: Lab, start: Start, write: Write, tap: Callable[[str], Tap], inject: Inject
) -> None:
    write(*services())
    running, rng, last = start(), Random(7), {}
    to_ask_changes_nothing(running)
    wire = tap("lb")
    for number in range(PACKETS):
        place = rng.choice(PLACES) if number % 8 else "87/tcp"
        sport = rng.randrange(4000, 4012) if number % 8 else 5000 + number  # servers end what is inline
        flags = rng.choice(FLAGS) if number % 8 else "S"
        client = f"{rng.choice(CLIENTS)}:{sport}"
        words = {"client": client, "to": f"{VIP}:{place}", "flags": flags, "payload": rng.choice((0, 9))}
        row = met(running, wire, inject, words)
        last[client, int(place.split("/")[0])] = row
    shown = ask(running.admin, {"do": "show", "what": "flows", "limit": 1000})["flows"]
    seen = {(one["client"], one["port"]): one["backend"] for one in shown}
    foretold = {flow: row["record"]["after"] for flow, row in last.items()}
    assert seen == {flow: after["backend"] for flow, after in foretold.items() if after is not None}
    assert {row["why"] for row in last.values()} >= {"record", "slot", "turn", "least", "template", None}


def to_ask_changes_nothing(running: Balancer) -> None:
    """Ask often before there is a packet: no turn is taken, nothing recorded, nothing counted."""
    own = "forwarded", "no_service"
    before = {reason: counters(running).get(reason, 0) for reason in own}
    asked = [{"client": f"{CLIENTS[0]}:4000", "to": f"{VIP}:{place}"} for place in PLACES]
    first, *again = ([explained(running, **words)["out"] for words in asked] for _ in range(3))
    assert again == [first, first]
    assert ask(running.admin, {"do": "show", "what": "flows"})["flows"] == []
    assert {reason: counters(running).get(reason, 0) for reason in own} == before


@pytest.mark.only_engine("packet", reason="the command asks either in the same way")
def test_the_command_explains_a_captured_frame_and_a_drained_backend(
    lab: Lab, start: Start, write: Write, tmp_path: Path
) -> None:
    write(service(RS1, RS2, port=80, scheduler="wrr"))
    running = start()
    ask(running.admin, {"do": "drain", "backend": RS1})
    elsewhere = Ether(src=mac("router"), dst=mac("rs1")) / IP(src=CLIENTS[0], dst=str(VIP)) / TCP(dport=80)
    wrpcap(str(tmp_path / "it.pcap"), [elsewhere])
    capture = ("--pcap", str(tmp_path / "it.pcap"))
    assert told(lab, running, *capture)["reason"] == "not_for_us"
    row = told(lab, running, *capture, "--to-us")
    assert (row["reason"], row["backend"], row["out"]["interface"]) == ("forwarded", RS2, "e0")
    assert row["backends"][0]["standing"] == ["drained"]
    assert row["dissected"][0]["came"] == mac("lb")


def told(lab: Lab, running: Balancer, *words: str) -> Any:
    done = run_dsrlb(lab, "lb", "explain", *words, "--json", "--admin", str(running.admin))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)

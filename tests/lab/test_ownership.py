"""Does a running balancer own its VIPs on the segment, whoever else claims them?

Added to the lab: the guest, one more machine on the switch, 198.18.1.99, 02:00:c6:12:01:99.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from ipaddress import ip_address
from typing import Any

import pytest
from lab_running import RS1, Serve, both_versions, forget_neighbours, heard, tap, to
from lab_wire import GUEST_MAC, eventually

from dsrlb.host import frames
from dsrlb.lab.topology import VIP, VIP6, Lab, mac, run


@pytest.fixture(scope="module")
def guest(guest: str) -> str:
    """The lab's guest, here with an address of the subnet."""
    run(["ip", "-n", guest, "addr", "add", "198.18.1.99/24", "dev", "e0"])
    return guest


def test_the_start_announces_the_vips_to_the_network(lab: Lab, serve: Serve) -> None:
    with tap(lab.namespace("switch"), "p-lb") as hearing:
        serve(flags=to(RS1, more=both_versions(lab)))
        seen: list[bytes] = []
        lb = bytes.fromhex(mac("lb").replace(":", ""))
        wanted = set(frames.gratuitous_arp(lb, VIP))  # type: ignore[arg-type]
        if lab.ipv6:
            wanted.add(frames.unsolicited_advertisement(lb, VIP6))  # type: ignore[arg-type]

        def all_seen() -> bool:
            seen.extend(heard(hearing))
            return wanted <= set(seen)

        assert eventually(all_seen, 1), f"missing: {[one.hex() for one in wanted - set(seen)]}"


def test_who_has_is_answered_once_by_the_balancer_and_by_nobody_else(lab: Lab, serve: Serve) -> None:
    serve()
    router, lb = (bytes.fromhex(mac(role).replace(":", "")) for role in ("router", "lb"))
    with tap(lab.namespace("router"), "e0") as wire:
        for _ in range(3):
            wire.send(frames.arp_request(router, ip_address("198.18.1.1"), VIP))  # type: ignore[arg-type]
        answers: list[bytes] = []

        def answered() -> bool:
            # ARP to the asker, operation 2, from the VIP.
            told = (one for one in heard(wire) if one[:6] == router and one[12:14] == b"\x08\x06")
            answers.extend(one for one in told if one[20:22] == b"\0\x02" and one[28:32] == VIP.packed)
            return len(answers) >= 3

        assert eventually(answered, 20)
        assert not eventually(lambda: answered() and len(answers) > 3, 0.3)
    assert {(one[6:12], one[22:28]) for one in answers} == {(lb, lb)}


def test_with_force_another_owner_is_a_warning_and_the_vip_is_served(
    lab: Lab, serve: Serve, owner: Callable[[object], None], guest: str, client: Any
) -> None:
    owner(VIP)
    running = serve("--force")
    assert GUEST_MAC in running.wait_for(f"VIP {VIP} already belongs")
    run(["ip", "-n", guest, "addr", "flush", "dev", "e0", "to", str(VIP)])
    forget_neighbours(lab)
    assert client.requests(6)["errors"] == []
    assert running.stop() == 0


def test_a_later_intruder_is_reported_with_its_mac(
    lab: Lab, serve: Serve, owner: Callable[[object], None]
) -> None:
    running = serve(flags=to(RS1, more=both_versions(lab)))
    for vip in lab.vips:
        owner(vip)
    for vip in lab.vips:
        told = running.wait_for(f"{vip} .*{GUEST_MAC}")
        assert "e0" in told


def test_an_intruder_that_checks_for_duplicates_gives_up(lab: Lab, serve: Serve, guest: str) -> None:
    serve(version=6)

    def state() -> list[dict[str, Any]]:
        shown = run(["ip", "-j", "-n", guest, "addr", "show", "dev", "e0", "to", str(VIP6)])
        return [one for link in json.loads(shown) for one in link.get("addr_info", [])]

    try:
        run(["ip", "-n", guest, "addr", "add", f"{VIP6}/128", "dev", "e0"])
        assert eventually(lambda: any(one.get("dadfailed") for one in state()), 20), state()
    finally:
        run(["ip", "-n", guest, "addr", "flush", "dev", "e0", "to", str(VIP6)])


def test_two_interfaces_on_one_segment_are_no_intruders_to_each_other(
    lab: Lab, serve: Serve, second: Callable[..., None], client: Any
) -> None:
    second("switch", "", "")
    run(["ip", "-n", lab.namespace("switch"), "link", "set", "x1", "master", "br0"])
    running = serve(flags=to(RS1, interfaces=["e0", "x0"], more=both_versions(lab)))
    with pytest.raises(Exception, match="is silent"):
        running.wait_for("claimed|belongs", 3)
    assert client.requests(6)["errors"] == []

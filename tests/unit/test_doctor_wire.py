"""Does the doctor tell by who answers on the links what is wrong there?"""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_interface
from typing import Any

import pytest

from dsrlb.doctor.facts_wire import Neighbouring, WireFacts, _is_of
from dsrlb.doctor.finding import Finding, Verdict
from dsrlb.doctor.judge_wire import judge_neighbours, judge_owners
from dsrlb.host.links import Link
from dsrlb.model import Backend, Service

VIP, VIP6, SERVER = ip_address("198.18.1.100"), ip_address("2001:db8:1::100"), ip_address("198.18.1.11")
OWN, RS1, STRANGER = (bytes.fromhex(f"0200c61201{end}") for end in ("10", "11", "e1"))
E0 = Link(2, "e0", OWN, 1500, True, (ip_interface("198.18.1.10/24"),), ())
SERVER_THERE = Neighbouring(SERVER, E0, ("rs1",), True, frozenset((RS1,)), known=RS1)


def owners(mode: str, *macs: bytes, vip: Any = VIP, runs: bool = True) -> list[Finding]:
    facts = WireFacts({(vip, "e0"): frozenset(macs)}, (SERVER_THERE,), {OWN: "e0"})
    service = Service(vip, 80, "tcp", mode, "rr", (Backend(SERVER, label="rs1"),))
    return list(judge_owners(facts, [service], runs=runs))


def neighbour(**differs: Any) -> dict[str, Finding]:
    facts = WireFacts({}, (replace(SERVER_THERE, **differs),), {OWN: "e0"})
    return {one.name: one for one in judge_neighbours(facts)}


@pytest.mark.parametrize("runs", [True, False])
@pytest.mark.parametrize("macs", [(), (OWN,)], ids=["nobody", "this host by its other interface"])
def test_a_vip_that_nobody_else_answers_for_is_right(macs: tuple[bytes, ...], runs: bool) -> None:
    (found,) = owners("l2dsr", *macs, runs=runs)
    assert (found.name, found.verdict) == ("second_owner", Verdict.OK)
    assert ("no dsrlb runs here" in found.says) is not runs


def test_a_stranger_with_the_vip_is_a_second_owner_and_its_mac_is_told() -> None:
    (found,) = owners("l2dsr", STRANGER)
    assert (found.name, found.verdict, found.where) == ("second_owner", Verdict.WRONG, "balancer")
    assert "02:00:c6:12:01:e1" in found.says and "198.18.1.100" in found.evidence and found.mend


def test_a_server_that_tells_of_the_vip_lacks_arp_ignore() -> None:
    (found,) = owners("l2dsr", RS1)
    assert (found.name, found.verdict, found.where) == ("arp_ignore", Verdict.WRONG, "rs1")
    assert "dsrlb backend setup --mode l2dsr --vip 198.18.1.100" in found.mend


@pytest.mark.parametrize(("mode", "vip"), [("inline", VIP), ("l2dsr", VIP6)])
def test_a_server_with_a_vip_that_arp_ignore_is_not_about_is_a_second_owner(mode: str, vip: Any) -> None:
    (found,) = owners(mode, RS1, vip=vip)
    assert (found.name, found.verdict, found.where) == ("second_owner", Verdict.WRONG, "rs1")


def test_each_of_several_who_answer_for_a_vip_is_told_of() -> None:
    assert sorted(one.name for one in owners("l2dsr", RS1, STRANGER, OWN)) == ["arp_ignore", "second_owner"]


def test_a_server_that_answers_where_frames_are_sent_to_is_right() -> None:
    found = neighbour()
    assert {name: one.verdict for name, one in found.items()} == {
        "unreachable": Verdict.OK,
        "server_mac": Verdict.OK,
    }


def test_a_server_that_does_not_answer_is_unreachable() -> None:
    found = neighbour(answers=frozenset())
    assert list(found) == ["unreachable"] and found["unreachable"].verdict is Verdict.WRONG
    assert found["unreachable"].where == "rs1"


def test_of_a_server_that_has_its_mac_by_hand_silence_tells_nothing() -> None:
    found = neighbour(answers=frozenset(), given=RS1, given_by="the configuration")
    assert found["unreachable"].verdict is Verdict.UNKNOWN


def test_an_interface_without_a_carrier_is_told_in_place_of_its_servers() -> None:
    found = neighbour(answers=frozenset(), link=replace(E0, up=False))
    assert "e0" in found["unreachable"].says and "ip link set e0 up" in found["unreachable"].mend


@pytest.mark.parametrize(
    ("differs", "mend"),
    [
        ({"given": STRANGER, "given_by": "the configuration"}, "mac=02:00:c6:12:01:11"),
        ({"given": STRANGER, "given_by": "the kernel's table"}, "ip neigh replace 198.18.1.11 lladdr 02:00"),
        ({"known": STRANGER}, "ip neigh flush to 198.18.1.11 dev e0"),
    ],
    ids=["in the configuration", "by ip neigh", "learnt"],
)
def test_frames_that_go_to_a_mac_that_the_server_has_no_more_are_wrong(
    differs: dict[str, Any], mend: str
) -> None:
    found = neighbour(**differs)["server_mac"]
    assert found.verdict is Verdict.WRONG and mend in found.mend and "02:00:c6:12:01:e1" in found.says


def test_a_server_with_two_macs_may_be_one_machine() -> None:
    assert neighbour(answers=frozenset((RS1, STRANGER)))["server_mac"].verdict is Verdict.UNKNOWN


def test_a_router_that_is_silent_is_told_once_with_the_servers_behind_it() -> None:
    found = neighbour(labels=("rs1", "rs2"), is_server=False, answers=frozenset())
    assert list(found) == ["router"] and found["router"].where == "balancer"
    assert "the router to rs1, rs2, 198.18.1.11, does not answer" in found["router"].says


def test_a_router_with_another_mac_is_told() -> None:
    found = neighbour(labels=("rs1",), is_server=False, known=STRANGER)
    assert found["router_mac"].verdict is Verdict.WRONG and found["router"].verdict is Verdict.OK


@pytest.mark.parametrize(
    ("written", "address", "is_it"),
    [
        ("198.18.1.11", "198.18.1.11", True),
        ("198.18.1.11:8080", "198.18.1.11", True),
        ("198.18.1.110", "198.18.1.11", False),
        ("2001:db8::1", "2001:db8::1", True),
        ("[2001:db8::1]:80", "2001:db8::1", True),
        ("2001:db8::1:5", "2001:db8::1", False),
    ],
)
def test_a_backend_of_dsrlb_show_is_known_by_its_address(written: str, address: str, is_it: bool) -> None:
    assert _is_of(written, ip_address(address)) is is_it

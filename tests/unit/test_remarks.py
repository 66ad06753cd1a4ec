"""Is what is wrong though checks pass remarked about whom it is about, for as long as it is so?"""

from __future__ import annotations

import time
from ipaddress import ip_address

import pytest

from dsrlb.control.remarking import OWNED, Remarking, of_claim
from dsrlb.health.remarks import About, Remark, Remarks
from dsrlb.host import frames
from dsrlb.host.ownership import is_question

VIP, OTHER, A, B = (ip_address(one) for one in ("198.18.1.100", "198.18.1.101", "198.18.1.11", "198.18.1.12"))
MAC = bytes.fromhex("0200c6120111")
NARROW = Remark("path_mtu", "1400")


def words(it: Remarks, vip: object, backend: object, after_s: float = 0) -> list[str]:
    return [one.word for one in it.of(vip, backend, time.monotonic() + after_s)]  # type: ignore[arg-type]


def test_a_remark_is_about_a_vip_a_server_or_a_server_at_a_vip() -> None:
    it = Remarks()
    it.say(About(VIP), Remark("second_owner", ""))
    it.say(About(None, A), Remark("server_mac", ""))
    it.say(About(VIP, B), NARROW)
    assert words(it, VIP, A) == ["second_owner", "server_mac"]
    assert words(it, VIP, B) == ["path_mtu", "second_owner"]
    assert words(it, OTHER, A) == ["server_mac"] and words(it, OTHER, B) == []


def test_it_stands_until_it_is_taken_back_or_its_time_is_over(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "dsrlb")
    it = Remarks()
    for _ in range(3):
        it.say(About(VIP, A), NARROW)
        it.say(About(VIP, B), NARROW, for_s=5)
    assert words(it, VIP, A, 6) == ["path_mtu"] and words(it, VIP, B, 6) == []
    it.take_back(About(VIP, A), "path_mtu")
    it.take_back(About(VIP, A), "mtu")
    assert words(it, VIP, A) == []
    told = [f"backend {one} at VIP {VIP}: path_mtu: 1400" for one in (A, B)]
    assert caplog.messages == [*told, f"backend {A} at VIP {VIP}: path_mtu no more"]


@pytest.mark.parametrize(
    ("vip", "whose", "by_asking", "said"),
    [
        (VIP, [], False, [(About(VIP), "second_owner")]),
        (VIP, [], True, [(About(VIP), "second_owner")]),
        (VIP, [A], False, [(About(VIP, A), "arp_ignore")]),
        (VIP, [A], True, [(About(VIP, A), "arp_announce")]),
        (ip_address("2001:db8::100"), [A], False, [(About(ip_address("2001:db8::100"), A), "second_owner")]),
    ],
)
def test_a_claim_is_called_by_who_makes_it_and_how(vip, whose, by_asking, said) -> None:
    found = of_claim(vip, "02:00:c6:12:01:11", "e0", whose, by_asking)
    assert [(about, remark.word) for about, remark in found] == said
    assert all("dsrlb backend setup" in one.detail or "ip addr del" in one.detail for _, one in found)


def test_an_announcement_and_an_answer_are_no_questions() -> None:
    assert is_question(frames.arp_request(MAC, VIP, A))  # type: ignore[arg-type]  # IPv4, as the file says
    assert not any(is_question(one) for one in frames.gratuitous_arp(MAC, VIP))  # type: ignore[arg-type]
    assert not is_question(frames.unsolicited_advertisement(MAC, ip_address("2001:db8::100")))  # type: ignore[arg-type]


def test_what_the_host_has_and_who_moved_is_remarked_and_a_vip_taken_off_no_more() -> None:
    remarks = Remarks()
    it = Remarking(remarks)
    it.owned({VIP: "it is on lo"})
    it.moved({A: (MAC, MAC[::-1])})
    it.claimed(VIP, "02:00:c6:12:01:12", "e0", [B], by_asking=False)
    assert words(remarks, VIP, A) == ["server_mac", OWNED] and words(remarks, OTHER, B) == []
    assert words(remarks, VIP, B) == ["arp_ignore", OWNED]
    it.owned({})
    assert words(remarks, VIP, B) == ["arp_ignore"] and words(remarks, VIP, B, 30) == []

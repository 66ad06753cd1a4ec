"""Does the doctor tell by what a host is like whether it can balance?"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from ipaddress import ip_address
from typing import Any

import pytest

from dsrlb.config import Config
from dsrlb.doctor.facts_kernel import KernelFacts
from dsrlb.doctor.facts_links import LinkFacts, StackFacts
from dsrlb.doctor.facts_proxy import ProxyFacts
from dsrlb.doctor.finding import Finding, Verdict, joined, told_once
from dsrlb.doctor.judge_health import judge_clock, judge_down, judge_remarks
from dsrlb.doctor.judge_kernel import judge_kernel
from dsrlb.doctor.judge_links import judge_mtu, judge_offloads, judge_xdp
from dsrlb.doctor.judge_proxy import judge_proxy
from dsrlb.doctor.judge_stack import (
    judge_bridge_nf,
    judge_conntrack,
    judge_forwarding,
    judge_rp_filter,
    judge_vips_here,
)
from dsrlb.host.firewall import Killer, killers_in
from dsrlb.host.links import Link
from dsrlb.host.offloads import Offloads
from dsrlb.host.xdp_features import XdpFeature
from dsrlb.model import Backend, Check, ModeOptions, Service
from dsrlb.preflight import Way

OK, WRONG, UNKNOWN = Verdict.OK, Verdict.WRONG, Verdict.UNKNOWN
VIP, SERVER = ip_address("198.18.1.100"), ip_address("198.18.1.11")
KERNEL = KernelFacts("6.1.0", False, True, frozenset((4, 6)), True, "", 1, (), "dsrlb serve")
E0 = Link(2, "e0", bytes(6), 1500, True, (), ())
LINK = LinkFacts(E0, True, Offloads(False, False, False), None, XdpFeature(5), "")
RULE = Killer(
    ("forward",), "nft -a list chain ip filter FORWARD", "nft delete rule ip filter FORWARD handle 4"
)
NOW = datetime(2026, 6, 1, tzinfo=timezone.utc)
PROXY = ProxyFacts(NOW, (), (), (), (("198.18.1.100:443/tcp", True),), (), None, False)


def verdicts(found: Iterable[Finding]) -> dict[str, Verdict]:
    return {one.name: one.verdict for one in found}


# ------------------------------------------------------------------------- the kernel


def kernel(**differs: Any) -> dict[str, Verdict]:
    return verdicts(judge_kernel(replace(KERNEL, **differs), frozenset((4, 6))))


def test_a_kernel_with_everything_is_right() -> None:
    assert set(kernel().values()) == {OK}


@pytest.mark.parametrize(
    ("differs", "name", "verdict"),
    [
        ({"rule_families": frozenset((4,))}, "kernel", WRONG),
        ({"has_tun": False}, "kernel", WRONG),
        ({"has_tun": False, "checks": False}, "kernel", OK),
        ({"why_no_bpf": "no BPF", "wants_xdp": True}, "kernel", WRONG),
        ({"why_no_bpf": "no BPF"}, "kernel", OK),
        ({"jit_bytes": 0, "wants_xdp": True}, "jit", WRONG),
        ({"jit_bytes": 0}, "jit", OK),
        ({"jit_bytes": None}, "jit", UNKNOWN),
        ({"lacking": ("CAP_BPF",)}, "capabilities", WRONG),
    ],
)
def test_what_a_kernel_lacks_is_wrong_where_it_is_needed(
    differs: dict[str, Any], name: str, verdict: Verdict
) -> None:
    found = kernel(**differs)
    assert found.pop(name) is verdict and set(found.values()) == {OK}


# ------------------------------------------------------------------------- links


@pytest.mark.parametrize(
    ("differs", "at_work", "verdict", "says"),
    [
        ({}, False, OK, "XDP could be native"),
        ({"features": XdpFeature(0)}, False, OK, "generic (the driver has no XDP)"),
        ({"xdp": "native"}, True, OK, "is native"),
        ({"xdp": "generic", "features": XdpFeature(0)}, True, OK, "is generic: the driver has no XDP"),
        ({"xdp": "generic", "link": replace(E0, kind="veth")}, True, OK, "only while its peer has a program"),
        ({"xdp": "native", "link": replace(E0, kind="veth")}, True, UNKNOWN, "whether its peer finishes"),
        ({}, True, WRONG, "no frame is forwarded"),
        ({"xdp": "generic"}, False, UNKNOWN, "sees frames before dsrlb does"),
    ],
)
def test_the_mode_of_xdp_is_told_and_why(
    differs: dict[str, Any], at_work: bool, verdict: Verdict, says: str
) -> None:
    found = judge_xdp(replace(LINK, **differs), is_at_work=at_work, wanted="auto")
    assert found.verdict is verdict and says in found.says


def test_a_generic_mode_that_was_asked_for_needs_no_other_reason() -> None:
    found = judge_xdp(replace(LINK, xdp="generic"), is_at_work=True, wanted="generic")
    assert found.says == "the program on e0 is generic: it was asked for"


@pytest.mark.parametrize(
    ("on", "verdict"),
    [
        (Offloads(False, True, True), OK),
        (Offloads(True, True, True), WRONG),
        (Offloads(None, None, None), UNKNOWN),
    ],
)
def test_packets_that_the_nic_puts_together_are_wrong(on: Offloads, verdict: Verdict) -> None:
    assert judge_offloads(replace(LINK, offloads=on)).verdict is verdict


@pytest.mark.parametrize(
    ("mode", "options", "way_bytes", "verdict"),
    [
        ("l2dsr", ModeOptions(), 1500, OK),
        ("l2dsr", ModeOptions(), 1400, WRONG),
        ("inline", ModeOptions(), 1400, OK),
        ("l3dsr", ModeOptions(), 1500, UNKNOWN),
        ("l3dsr", ModeOptions(), 1520, OK),
        ("l3dsr", ModeOptions(encap="gue"), 1520, UNKNOWN),
        ("l3dsr", ModeOptions(clamp_mss=True), 1500, OK),
    ],
)
def test_the_largest_frame_has_to_fit_with_what_the_mode_adds(
    mode: str, options: ModeOptions, way_bytes: int, verdict: Verdict
) -> None:
    service = Service(VIP, 80, "tcp", mode, "rr", (Backend(SERVER, label="rs1"),), options)
    way = Way(E0, SERVER, way_bytes, None)
    (found,) = judge_mtu([service], {SERVER: ("rs1", way)}, 1500)
    assert (found.verdict, found.where) == (verdict, "rs1")
    assert options.encap == "ipip" or f"--encap {options.encap}" in found.mend


# ------------------------------------------------------------------------- the host's stack


def test_an_answer_that_strict_reverse_paths_drop_is_told_with_the_value_that_holds() -> None:
    stack = StackFacts({"ipv4/conf/all/rp_filter": 1})
    (found,) = judge_rp_filter(stack, [(VIP, "e0", "strict")])
    assert found.verdict is WRONG and "1 holds" in found.evidence and "rp_filter=2" in found.mend
    (found,) = judge_rp_filter(stack, [(VIP, "e0", None)])
    assert found.verdict is OK


@pytest.mark.parametrize(
    ("sysctls", "gateways", "verdict"),
    [
        ({"ipv4/conf/all/send_redirects": 1}, ["e0"], OK),
        ({"ipv4/ip_forward": 1, "ipv4/conf/all/send_redirects": 1}, ["e0"], WRONG),
        ({"ipv4/ip_forward": 1, "ipv4/conf/e0/send_redirects": 1}, ["e0"], WRONG),
        ({"ipv4/ip_forward": 1, "ipv4/conf/e0/send_redirects": 1}, [], OK),
        ({"ipv4/ip_forward": 1}, ["e0"], OK),
    ],
)
def test_a_router_that_redirects_servers_is_wrong(
    sysctls: dict[str, int], gateways: list[str], verdict: Verdict
) -> None:
    assert judge_forwarding(StackFacts(sysctls), gateways).verdict is verdict


def test_a_rule_that_drops_what_is_invalid_is_told_with_the_line_that_removes_it() -> None:
    (found,) = judge_conntrack([RULE])
    assert (found.name, found.verdict, found.mend) == ("conntrack_invalid", WRONG, RULE.removed_by)
    assert verdicts(judge_conntrack([])) == {"conntrack_invalid": OK}


@pytest.mark.parametrize(
    ("bridge", "call", "has_rules", "verdict"),
    [("br0", 1, True, WRONG), ("br0", 1, False, OK), ("br0", 0, True, OK), ("", 1, True, OK)],
)
def test_bridged_frames_that_meet_rules_are_wrong(
    bridge: str, call: int, has_rules: bool, verdict: Verdict
) -> None:
    stack = StackFacts({"bridge/bridge-nf-call-iptables": call})
    (found,) = judge_bridge_nf(stack, [replace(LINK, bridge=bridge)], frozenset((4,)), has_rules=has_rules)
    assert found.verdict is verdict


def test_a_vip_of_the_host_is_told_with_the_line_that_takes_it_off() -> None:
    (found,) = judge_vips_here([VIP], ["198.18.1.100/32 dev lo"])
    assert (found.name, found.verdict) == ("vip_on_balancer", WRONG)
    assert found.mend == "ip addr del 198.18.1.100/32 dev lo" and "198.18.1.100" in found.says
    assert verdicts(judge_vips_here([VIP], [])) == {"vip_on_balancer": OK}


@pytest.mark.parametrize(
    ("rule", "is_told"),
    [
        ("-A FORWARD -m conntrack --ctstate INVALID -j DROP", True),
        ("-A INPUT -m state --state INVALID,UNTRACKED -j REJECT --reject-with icmp-port-unreachable", True),
        ("-A FORWARD -m conntrack ! --ctstate NEW,ESTABLISHED -j DROP", True),
        ("-A FORWARD -m conntrack ! --ctstate INVALID -j ACCEPT", False),
        ("-A FORWARD -m conntrack --ctstate NEW -j DROP", False),
        ("-A FORWARD -m conntrack --ctstate INVALID -j LOG", False),
    ],
)
def test_rules_of_iptables_are_read(rule: str, is_told: bool) -> None:
    found = list(killers_in(f"*filter\n:FORWARD ACCEPT [0:0]\n{rule}\nCOMMIT\n", "iptables"))
    assert bool(found) is is_told
    assert not is_told or found[0].removed_by == f"iptables -t filter -D {rule.removeprefix('-A ')}"


# ------------------------------------------------------------------------- the clock of health

CHECKED = Config(
    (Service(VIP, 80, "tcp", "l2dsr", "rr", (Backend(SERVER, label="rs1"),), check=Check("tcp")),)
)


def row(ago_s: float | None, since_s: float = 100.0) -> dict[str, Any]:
    last = None if ago_s is None else {"ago_s": ago_s}
    backend = {"service": "198.18.1.100:80/tcp", "backend": "198.18.1.11", "name": "rs1"}
    return {**backend, "last": last, "since_s": since_s}


@pytest.mark.parametrize(
    ("rows", "verdict"),
    [
        ([row(1.0)], OK),
        ([row(None, since_s=1.0)], OK),
        ([row(60.0)], WRONG),
        ([row(None, since_s=60.0)], WRONG),
        (None, UNKNOWN),
    ],
)
def test_checks_that_are_late_are_wrong(rows: list[dict[str, Any]] | None, verdict: Verdict) -> None:
    (found,) = judge_clock(CHECKED, rows)
    assert found.verdict is verdict
    assert verdict is not WRONG or "rs1 60.0 s ago" in found.evidence


def test_servers_that_nobody_checks_are_no_fault() -> None:
    service = replace(CHECKED.services[0], check=None)
    assert verdicts(judge_clock(Config((service,)), [])) == {"health_clock": UNKNOWN}


@pytest.mark.parametrize(("state", "verdict"), [("up", OK), ("down", WRONG), ("unasked", None)])
def test_a_server_of_mode_proxy_that_is_down_is_told_with_what_the_check_says(
    state: str, verdict: Verdict | None
) -> None:
    service = replace(CHECKED.services[0], mode="proxy")
    about = {**row(1.0), "state": state, "why": "refused", "mending": "start it"}
    found = list(judge_down([service], [about]))
    assert [one.verdict for one in found] == ([] if verdict is None else [verdict])
    assert list(judge_down([], [about])) == []  # of other modes servers are asked by the doctor itself


# ------------------------------------------------------------------------- mode proxy


def proxy(**differs: Any) -> dict[str, Verdict]:
    return verdicts(judge_proxy(replace(PROXY, **differs)))


@pytest.mark.parametrize(
    ("differs", "name", "verdict"),
    [
        ({"faults": ("Certificate a.pem: it expired.",)}, "certificate", WRONG),
        ({"ends": (("a.pem", NOW + timedelta(days=90)),)}, "certificate", OK),
        ({"unnamed": (("www", "www.example.com"),)}, "certificate_name", WRONG),
        ({"listening": (("www", False),)}, "listener_clash", WRONG),
        ({"listening": (("www", None),)}, "listener_clash", OK),
        ({"servers": (("rs1", "198.18.1.11 port 80", "Connection refused"),)}, "no_listener", WRONG),
        ({"servers": (("rs1", "198.18.1.11 port 80", "no answer within 3 s"),)}, "unreachable", WRONG),
        ({"servers": (("rs1", "198.18.1.11 port 80", ""),)}, "no_listener", OK),
        ({"runs": True}, "haproxy", WRONG),
        ({"runs": True, "haproxy": {"is_serving": False}}, "haproxy", WRONG),
    ],
)
def test_what_keeps_a_proxy_from_serving_is_wrong(
    differs: dict[str, Any], name: str, verdict: Verdict
) -> None:
    assert proxy(**differs)[name] is verdict


def test_a_certificate_that_expires_soon_is_told_before_it_is_wrong() -> None:
    (found,) = (
        one
        for one in judge_proxy(replace(PROXY, ends=(("a.pem", NOW + timedelta(days=5)),)))
        if one.name == "certificate"
    )
    assert found.verdict is OK and "in 5 days" in found.says and found.mend == "renew it"


# ------------------------------------------------------------------------- findings


def test_what_a_server_seems_to_lack_that_frames_do_not_get_to_is_no_fault_of_its_own() -> None:
    mac, vip = (Finding(name, WRONG, "rs1", "") for name in ("server_mac", "vip_missing"))
    other = replace(vip, where="rs2")
    assert joined([mac], [vip, other]) == [mac, other]


def test_what_one_look_cannot_tell_is_left_out_where_another_tells() -> None:
    cannot, can = (Finding("mtu", verdict, "rs1", "") for verdict in (UNKNOWN, OK))
    elsewhere = replace(cannot, where="rs2")
    assert told_once([cannot, can, elsewhere, can]) == [can, elsewhere]


def test_what_the_running_dsrlb_alone_has_seen_is_told_with_what_mends_it() -> None:
    remarks = [
        {"word": "arp_announce", "detail": "it asks as the VIP; on the server: dsrlb backend setup"},
        {"word": "path_mtu", "detail": "the doctor sees that itself; mend it"},
        {"word": "server_mac", "detail": "frames went elsewhere; see that this is the server"},
    ]
    found = list(judge_remarks([{"name": "rs1", "backend": "198.18.1.11", "remarks": remarks}]))
    assert [(one.name, one.where, one.mend) for one in found] == [
        ("arp_announce", "rs1", "dsrlb backend setup"),
        ("server_mac", "rs1", "see that this is the server"),
    ]
    assert all(one.verdict is Verdict.WRONG for one in found)
    assert found[0].says == "it asks as the VIP"

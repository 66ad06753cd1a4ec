"""Does the doctor see by a server's own facts what is wrong there, and nothing where all is well?"""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

import pytest
from doctored import BALANCER, GUE, ROUTER, SERVER, VIP, by_router, facts, service, wanted, wrong

from dsrlb.doctor.finding import Verdict
from dsrlb.doctor.judge_server import judge_server
from dsrlb.model import Backend, ModeOptions

ON_LO = (
    "address 1: lo    inet 198.18.1.100/32 scope global lo\\       valid_lft forever preferred_lft forever\n"
)
BY_PROGRAM = "filter e0 filter protocol all pref 49 bpf chain 0 handle 0x1 dsrlb_decap direct-action id 12\n"
TUNL0 = (
    "link 3: tunl0@NONE: <NOARP,UP,LOWER_UP> mtu 1480 qdisc noqueue\\    link/ipip 0.0.0.0 brd 0.0.0.0\n"
    "sysctl ipv4/conf/tunl0/rp_filter 2\n"
)
OWN_TUNNEL = TUNL0.replace("tunl0", "ours").replace("rp_filter 2", "rp_filter 0")
SIT0 = OWN_TUNNEL.replace("ours", "sit0").replace("link/ipip", "link/sit")  # for IPv6 in IPv4 alone
MSS = (
    "default4 default via 198.18.1.1 dev e0 src 198.18.1.11",
    "default4 default via 198.18.1.1 dev e0 advmss 1440",
)
WRAPPED = wanted(service("l3dsr"), way=by_router())
INLINE = wanted(service("inline"))
BY_US = ("default via 198.18.1.1", "default via 198.18.1.10")


def test_nothing_is_wrong_with_a_server_that_is_set_up() -> None:
    for server, seen in (
        (wanted(), facts()),
        (WRAPPED, facts(MSS, also=BY_PROGRAM)),
        (WRAPPED, facts(MSS, (ON_LO, ON_LO.replace(": lo ", ": tunl0 ")), also=TUNL0)),
        (INLINE, facts(BY_US, (ON_LO, ""))),
        (wanted(service("inline", options=ModeOptions(snat=True))), facts((ON_LO, ""))),
    ):
        found = list(judge_server(server, seen))
        assert not wrong(found), (server, wrong(found))
        assert {one.verdict for one in found} == {Verdict.OK}
        assert {one.where for one in found} == {"rs1"}


@pytest.mark.parametrize(
    ("name", "change", "mend"),
    (
        ("vip_missing", (ON_LO, ""), "ip address add 198.18.1.100/32 dev lo"),
        ("vip_prefix", ("198.18.1.100/32", "198.18.1.100/24"), "ip address del 198.18.1.100/24 dev lo"),
        ("vip_on_ethernet", (": lo    inet 198.18.1.100", ": e0    inet 198.18.1.100"), "dev e0"),
        ("arp_ignore", ("all/arp_ignore 1", "all/arp_ignore 0"), "sysctl -w net.ipv4.conf.all.arp_ignore=1"),
        ("arp_announce", ("all/arp_announce 2", "all/arp_announce 0"), "net.ipv4.conf.all.arp_announce=2"),
        ("arp_announce", ("all/arp_announce 2", "all/arp_announce 1"), "net.ipv4.conf.all.arp_announce=2"),
        ("no_listener", (":0050", ":0051"), "start the service"),
        ("default_route", BY_US, "ip route replace default via"),
    ),
)
def test_a_fault_of_a_server_is_named_with_what_mends_it(
    name: str, change: tuple[str, str], mend: str
) -> None:
    found = wrong(list(judge_server(wanted(), facts(change))))
    assert set(found) == {name}
    assert mend in found[name].mend
    assert found[name].evidence


@pytest.mark.parametrize(
    ("change", "is_fault"),
    (
        (("tcp 00000000:0050", "tcp 0B0112C6:0050"), False),  # [::] takes IPv4 too
        (("tcp6 00000000000000000000000000000000:0050", "tcp 0B0112C6:0050"), False),
        (("tcp 00000000:0050\nlisten tcp6 00000000000000000000000000000000:0050", "tcp 0B0112C6:0050"), True),
        (
            ("tcp 00000000:0050\nlisten tcp6 00000000000000000000000000000000:0050", "tcp 640112C6:0050"),
            False,
        ),
        (
            (
                "tcp 00000000:0050\nlisten tcp6 00000000000000000000000000000000:0050",
                "tcp6 0000000000000000FFFF0000640112C6:0050",
            ),
            False,
        ),
    ),
)
def test_a_listener_counts_where_the_balancers_packets_arrive(
    change: tuple[str, str], is_fault: bool
) -> None:
    found = wrong(list(judge_server(wanted(), facts(change))))
    assert set(found) == ({"listener_elsewhere"} if is_fault else set())


def test_inline_a_listener_is_to_be_at_the_servers_own_address_and_port() -> None:
    nat = service("inline", backends=(Backend(SERVER, port=8080, label="rs1"),))
    assert set(wrong(list(judge_server(wanted(nat), facts(BY_US))))) == {"no_listener"}
    at_vip = ("tcp 00000000:0050\nlisten tcp6 00000000000000000000000000000000:0050", "tcp 640112C6:0050")
    assert set(wrong(list(judge_server(INLINE, facts(BY_US, at_vip))))) == {"listener_elsewhere"}


def test_strict_rp_filter_is_wrong_only_where_the_way_back_is_another_one() -> None:
    strict = ("e0/rp_filter 0", "e0/rp_filter 1")
    assert not wrong(list(judge_server(wanted(), facts(strict))))
    elsewhere = (
        "route default4 default via 198.18.1.1 dev e0",
        "route default4 default via 198.18.7.1 dev e1",
    )
    found = wrong(list(judge_server(wanted(), facts(strict, elsewhere))))
    assert found["rp_filter"].mend == "sysctl -w net.ipv4.conf.e0.rp_filter=2"
    by_all = ("all/rp_filter 0", "all/rp_filter 1")
    assert set(wrong(list(judge_server(wanted(), facts(by_all, elsewhere))))) == {"rp_filter"}
    loose = ("e0/rp_filter 0", "e0/rp_filter 2")
    assert not wrong(list(judge_server(wanted(), facts(by_all, loose, elsewhere))))
    known = replace(wanted(), clients={4: ip_address("198.18.0.2")})
    back = "route 198.18.0.2 198.18.0.2 via 198.18.1.1 dev e0 src 198.18.1.11\n"
    assert not wrong(list(judge_server(known, facts(strict, elsewhere, also=back))))


def test_rp_filter_of_the_tunnel_drops_strictly_always_and_loosely_without_an_address() -> None:
    on_tunnel = (ON_LO, ON_LO.replace(": lo ", ": tunl0 "))
    strict = TUNL0.replace("rp_filter 2", "rp_filter 1")
    assert set(wrong(list(judge_server(WRAPPED, facts(MSS, on_tunnel, also=strict))))) == {"rp_filter"}
    assert set(wrong(list(judge_server(WRAPPED, facts(MSS, also=TUNL0))))) == {"rp_filter"}
    off = TUNL0.replace("rp_filter 2", "rp_filter 0")
    assert not wrong(list(judge_server(WRAPPED, facts(MSS, also=off))))
    beside = SIT0.replace("rp_filter 0", "rp_filter 2")  # clients' packets of IPv4 never come out of it
    assert not wrong(list(judge_server(WRAPPED, facts(MSS, on_tunnel, also=TUNL0 + beside))))


@pytest.mark.parametrize(
    ("also", "verdict"),
    (
        ("", Verdict.WRONG),
        (BY_PROGRAM, Verdict.OK),
        (BY_PROGRAM.replace("filter e0", "filter e1"), Verdict.WRONG),
        (BY_PROGRAM.replace("dsrlb_decap", "cilium"), Verdict.UNKNOWN),
        (TUNL0.replace("rp_filter 2", "rp_filter 0"), Verdict.OK),
        (TUNL0.replace("UP,", "").replace("rp_filter 2", "rp_filter 0"), Verdict.WRONG),
        (OWN_TUNNEL, Verdict.OK),
        (OWN_TUNNEL.replace("UP,", ""), Verdict.WRONG),
        (SIT0, Verdict.WRONG),
    ),
)
def test_what_unwraps_is_looked_for(also: str, verdict: Verdict) -> None:
    found = [one for one in judge_server(WRAPPED, facts(MSS, also=also)) if one.name == "no_decapsulation"]
    assert [one.verdict for one in found] == [verdict]


def test_without_tc_a_missing_tunnel_device_proves_nothing() -> None:
    found = list(judge_server(WRAPPED, facts(MSS, ("tc yes\n", ""))))
    assert [one.verdict for one in found if one.name == "no_decapsulation"] == [Verdict.UNKNOWN]
    assert not wrong(found)


def test_gue_takes_the_program_a_tunnel_device_does_not_do() -> None:
    server = wanted(service("l3dsr", options=GUE), way=by_router())
    mss = (MSS[0], MSS[1].replace("1440", "1420"))
    found = wrong(list(judge_server(server, facts(mss, also=TUNL0.replace("rp_filter 2", "rp_filter 0")))))
    assert "--encap gue --encap-port 6080" in found["no_decapsulation"].mend
    assert not wrong(list(judge_server(server, facts(mss, also=BY_PROGRAM))))


def test_segments_that_do_not_fit_into_the_tunnel_are_told_with_the_route_that_mends_it() -> None:
    found = wrong(list(judge_server(WRAPPED, facts(also=BY_PROGRAM))))
    assert (
        found["mtu"].mend == "ip -4 route replace default via 198.18.1.1 dev e0 src 198.18.1.11 advmss 1440"
    )
    assert "1520 bytes wrapped, the way takes 1500" in found["mtu"].evidence
    known = replace(WRAPPED, clients={4: ip_address("198.18.0.2")})
    back = "route 198.18.0.2 198.18.0.2 via 198.18.1.1 dev e0 src 198.18.1.11\n"
    assert wrong(list(judge_server(known, facts(also=BY_PROGRAM + back))))["mtu"].mend == found["mtu"].mend
    aside = back.replace("198.18.1.1 ", "198.18.1.7 ")
    other = wrong(list(judge_server(known, facts(also=BY_PROGRAM + aside))))
    assert other["mtu"].mend.endswith("backend setup --mode l3dsr --vip 198.18.1.100 --advmss 1440")
    wide = wanted(service("l3dsr"), way=by_router(1520))
    assert not wrong(list(judge_server(wide, facts(also=BY_PROGRAM))))
    narrow = wanted(service("l3dsr"), way=by_router(1400))
    again = wrong(list(judge_server(narrow, facts(MSS, also=BY_PROGRAM))))
    assert again["mtu"].mend == "ip -4 route replace default via 198.18.1.1 dev e0 advmss 1340"


def test_inline_answers_have_to_come_by_the_balancer() -> None:
    found = wrong(list(judge_server(INLINE, facts())))
    assert "--gateway 198.18.1.10" in found["default_route"].mend
    part = f"by {BALANCER} 198.18.0.0/24 dev e0\n"
    (told,) = [one for one in judge_server(INLINE, facts(also=part)) if one.name == "default_route"]
    assert told.verdict is Verdict.UNKNOWN, "clients may all be there"
    known = replace(INLINE, clients={4: ip_address("198.18.0.2")})
    back = f"route 198.18.0.2 198.18.0.2 via {BALANCER} dev e0 src {SERVER}\n"
    assert not wrong(list(judge_server(known, facts(also=back))))
    past = f"route 198.18.0.2 198.18.0.2 via {ROUTER} dev e0 src {SERVER}\n"
    assert set(wrong(list(judge_server(known, facts(BY_US, also=past))))) == {"default_route"}


def test_a_mac_given_by_hand_is_compared_with_the_servers() -> None:
    right, other = bytes.fromhex("0200c6120111"), bytes.fromhex("0200c6120199")
    assert not wrong(list(judge_server(replace(wanted(), mac=right), facts())))
    by_file = wanted(service(backends=(Backend(SERVER, label="rs1", mac=other),)), mac=other)
    assert "mac=02:00:c6:12:01:11" in wrong(list(judge_server(by_file, facts())))["server_mac"].mend
    by_kernel = wrong(list(judge_server(replace(wanted(), mac=other), facts())))
    assert by_kernel["server_mac"].mend == "ip neighbour del 198.18.1.11 dev e0"


def test_a_vip_of_ipv6_is_no_matter_of_arp() -> None:
    vip6 = ip_address("2001:db8:1::100")
    server = wanted(service("l2dsr", vip=vip6))
    quiet = ("all/arp_ignore 1", "all/arp_ignore 0")
    found = wrong(list(judge_server(server, facts(quiet))))
    assert found["vip_missing"].mend == "ip address add 2001:db8:1::100/128 dev lo preferred_lft 0"
    assert "arp_ignore" not in found
    assert VIP not in server.vips

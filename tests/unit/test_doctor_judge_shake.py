"""Does the doctor say where a handshake got lost, and believe what works more than what seems to lack?"""

from __future__ import annotations

from dataclasses import replace

import pytest
from doctored import facts, service, wanted, wrong

from dsrlb.doctor.about import About
from dsrlb.doctor.facts_client import client_in
from dsrlb.doctor.facts_shake import Shake
from dsrlb.doctor.finding import Verdict
from dsrlb.doctor.judge_client import judge_client
from dsrlb.doctor.judge_server import judge_server
from dsrlb.doctor.judge_shake import (
    judge_counters,
    judge_faults,
    judge_looks,
    judge_shakes,
    merged,
    passes,
    sharpened,
)
from dsrlb.health.base import PASSED, Outcome
from dsrlb.health.remarks import Remark

WORKS = Shake(service(), PASSED, looked=())
INLINE, L3DSR = service("inline"), service("l3dsr")


def lost(word: str, detail: str = "") -> Shake:
    return Shake(service(), Outcome(word, detail))


def test_a_handshake_that_comes_about_is_well() -> None:
    found = [
        *judge_shakes(wanted(), [WORKS]),
        *judge_faults(wanted(), [WORKS]),
        *judge_looks(wanted(), [WORKS]),
    ]
    assert {(one.name, one.verdict) for one in found} == {
        ("end_to_end", Verdict.OK),
        ("path_mtu", Verdict.OK),
    }
    assert passes([WORKS]) and not passes([])


@pytest.mark.parametrize(
    ("word", "name", "where", "mend"),
    (
        ("no_vip", "vip_missing", "on the server", "dsrlb backend setup --mode l2dsr --vip 198.18.1.100"),
        ("no_decapsulation", "no_decapsulation", "it refuses what is wrapped", "dsrlb backend setup"),
        ("rp_filter", "rp_filter", "nothing comes out", "dsrlb backend setup"),
        ("refused", "no_listener", "nothing listens there", "start the service on rs1"),
        ("not_on_vip", "listener_elsewhere", "own address only", "let the service listen on all"),
        ("no_answer", "unreachable", "own address does not answer either", "ping 198.18.1.11"),
        ("unresolved", "unreachable", "nobody answers for its MAC address", "ping 198.18.1.11"),
    ),
)
def test_a_lost_handshake_names_the_fault_and_the_place(word: str, name: str, where: str, mend: str) -> None:
    shake = lost(word, "what was seen; let the service listen on all" if word == "not_on_vip" else "")
    (fault,) = judge_faults(wanted(), [shake, shake])
    (probe,) = judge_shakes(wanted(), [shake], "3 packets dropped by rp_filter")
    assert (fault.name, fault.verdict, fault.where) == (name, Verdict.WRONG, "rs1")
    assert mend in fault.mend
    assert where in probe.says and probe.verdict is Verdict.WRONG
    assert probe.evidence.endswith("3 packets dropped by rp_filter")


def test_a_word_that_nobody_knows_yet_is_wrong_as_well() -> None:
    assert not list(judge_faults(wanted(), [lost("new_word")]))
    (probe,) = judge_shakes(wanted(), [lost("new_word", "as it says")])
    assert (probe.verdict, probe.evidence) == (Verdict.WRONG, "new_word: as it says")


def test_what_this_host_cannot_ask_is_no_fault_of_the_server() -> None:
    for shake in (
        Shake(service(), None, "no port is free"),
        replace(WORKS, not_so="there is no /dev/net/tun"),
    ):
        (probe,) = judge_shakes(wanted(), [shake])
        assert probe.verdict is Verdict.UNKNOWN and shake.not_so in probe.says
        assert not passes([shake])


def test_closer_looks_are_told_by_the_modes_they_are_for() -> None:
    remark = Remark(
        "default_route", "answers do not come back; on the server: ip route replace default via us"
    )
    server, shake = wanted(INLINE), Shake(INLINE, PASSED, looked=(remark,))
    found = {one.name: one for one in judge_looks(server, [shake])}
    assert set(found) == {"path_mtu", "default_route"}
    assert found["default_route"].mend == "ip route replace default via us"
    assert {one.name for one in judge_looks(wanted(L3DSR), [Shake(L3DSR, PASSED, looked=())])} == {
        "path_mtu",
        "mtu",
    }
    assert not list(judge_looks(server, [Shake(INLINE, PASSED)])), "it was not looked at"


def test_a_server_that_works_otherwise_than_known_is_believed() -> None:
    without_vip = list(
        judge_server(wanted(), facts(("198.18.1.100/32", "198.18.1.99/32"), (":0050", ":0051")))
    )
    assert set(wrong(without_vip)) == {"vip_missing", "no_listener"}
    told = merged(without_vip, [], [], True)
    assert not wrong(told)
    assert any(one.says.startswith("handshakes come about, though no device") for one in told)
    assert set(wrong(merged(without_vip, [], [], False))) == {"vip_missing", "no_listener"}


def test_what_clients_alone_meet_is_not_overruled_by_a_handshake_of_this_host() -> None:
    deaf = list(judge_server(wanted(), facts(("all/arp_ignore 1", "all/arp_ignore 0"))))
    assert set(wrong(merged(deaf, [], [], True))) == {"arp_ignore"}


def test_the_servers_own_words_go_before_what_a_handshake_lets_guess() -> None:
    guess = list(judge_faults(wanted(), [lost("no_vip")]))
    healthy = list(judge_server(wanted(), facts()))
    assert set(wrong(merged(healthy, guess, [], False))) == {"vip_missing"}, "all that there is to go by"
    strict = facts(("e0/rp_filter 0", "e0/rp_filter 1"), ("via 198.18.1.1 dev e0", "via 198.18.7.1 dev e1"))
    assert set(wrong(merged(list(judge_server(wanted(), strict)), guess, [], False))) == {"rp_filter"}


def test_of_two_who_look_at_the_same_the_one_who_knows_is_told() -> None:
    about = About("default_route", "rs1")
    ok, bad, unknown = about.ok("fine"), about.wrong("bad", "seen", "mend"), about.unknown("who knows?")
    assert merged([ok], [], [bad], True) == [ok]
    assert merged([unknown], [], [bad], True) == [bad]
    assert merged([unknown], [], [], True) == [unknown]


def test_the_kernels_counters_say_what_it_dropped() -> None:
    before = {"TcpExt.IPReversePathFilter": 7, "TcpExt.ListenDrops": 1}
    assert judge_counters(before, before) == ""
    after = {**before, "TcpExt.IPReversePathFilter": 10, "Ip.InReceives": 99}
    assert judge_counters(before, after) == "3 packets dropped by rp_filter (TcpExt.IPReversePathFilter)"


@pytest.mark.parametrize(
    ("words", "verdict", "says"),
    (
        (("ok", "ok"), Verdict.OK, "all of 2 connections to 198.18.1.100:80 came about"),
        (
            ("ok", "silent", "silent"),
            Verdict.WRONG,
            "2 of 3 connections to 198.18.1.100:80 were not answered",
        ),
        (("refused",), Verdict.WRONG, "1 of 1 connections to 198.18.1.100:80 were refused"),
    ),
)
def test_connections_of_a_client_are_counted(words: tuple[str, ...], verdict: Verdict, says: str) -> None:
    tried = "".join(f"try 198.18.1.100 80 {word}\n" for word in words)
    way = "way 198.18.1.100 198.18.1.100 via 198.18.0.1 dev c0 src 198.18.0.2 uid 0 \\    cache\n"
    seen = client_in(f"tool python3\n{way}{tried}try\nend\n")
    (found,) = judge_client(seen, runs=True)
    assert (found.verdict, found.where) == (verdict, "client")
    assert says in found.says
    assert str(seen.sources[4]) == "198.18.0.2"


def test_a_client_that_cannot_connect_proves_nothing() -> None:
    for said, runs, why in (
        ("tool none\nend\n", True, "neither python3, bash nor nc"),
        ("tool nc\nend\n", True, "no TCP service of one port"),
        ("tool nc\nend\n", False, "no dsrlb runs here"),
    ):
        (found,) = judge_client(client_in(said), runs=runs)
        assert found.verdict is Verdict.UNKNOWN and why in found.says


def test_a_check_of_the_running_dsrlb_knows_why_the_vip_is_silent() -> None:
    checked = Shake(service(), Outcome("no_decapsulation", "it refuses what is wrapped"), by_check=True)
    assert sharpened(lost("no_vip"), checked).outcome == checked.outcome
    assert sharpened(lost("rp_filter"), replace(checked, outcome=Outcome("no_vip"))).outcome == Outcome(
        "no_vip"
    )
    for shake, other in ((lost("refused"), checked), (lost("no_vip"), None), (WORKS, checked)):
        assert sharpened(shake, other) is shake
    udp = Shake(service(protocol="udp"), PASSED, by_check=True)
    (found,) = judge_shakes(wanted(), [udp])
    assert found.says == "the check of 198.18.1.100:80/udp passes by it"

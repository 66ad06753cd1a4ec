"""Is what is wrong with a server called by its name?"""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from dsrlb.health.base import PASSED, Outcome
from dsrlb.health.naming import Findings, is_open, named
from dsrlb.model import ModeOptions

VIP = ip_address("198.18.1.100")
SILENT, REFUSED = Outcome("no_answer", "none within 1 s"), Outcome("refused")
LATE = Outcome("bad_status", "503")
UNREACHABLE = Outcome("unreachable", "no route to host")


@pytest.mark.parametrize(
    ("mode", "at_vip", "at_own", "says_no_tunnel", "word"),
    [
        ("l2dsr", SILENT, PASSED, False, "no_vip"),
        ("l2dsr", SILENT, REFUSED, False, "no_vip"),  # the service listens on the VIP alone
        ("l2dsr", UNREACHABLE, PASSED, False, "no_vip"),  # it forwards, and said so
        ("l2dsr", SILENT, SILENT, False, "no_answer"),
        ("l2dsr", UNREACHABLE, SILENT, False, "unreachable"),
        ("l2dsr", SILENT, None, False, "no_answer"),
        ("l2dsr", REFUSED, PASSED, False, "not_on_vip"),
        ("l2dsr", REFUSED, REFUSED, False, "refused"),
        ("l2dsr", REFUSED, SILENT, False, "refused"),
        ("l3dsr", SILENT, PASSED, True, "no_decapsulation"),
        ("l3dsr", SILENT, SILENT, True, "no_decapsulation"),
        ("l3dsr", SILENT, PASSED, False, "no_vip"),
    ],
)
def test_both_answers_together_name_it(
    mode: str, at_vip: Outcome, at_own: Outcome | None, says_no_tunnel: bool, word: str
) -> None:
    assert named(Findings(VIP, mode, at_vip, at_own, says_no_tunnel)).word == word


def test_a_tunnel_that_lets_nothing_out_and_says_nothing_is_no_missing_vip() -> None:
    assert named(Findings(VIP, "l3dsr", SILENT, PASSED, False, True)).word == "rp_filter"
    assert named(Findings(VIP, "l3dsr", SILENT, PASSED, True, True)).word == "no_decapsulation"
    assert named(Findings(VIP, "l3dsr", SILENT, SILENT, False, True)).word == "no_answer"


def test_the_name_comes_with_the_command_that_mends_it() -> None:
    for says in (False, True):
        said = named(Findings(VIP, "l3dsr", SILENT, PASSED, says)).detail
        assert said.endswith("dsrlb backend setup --mode l3dsr --vip 198.18.1.100")


def test_who_is_refused_at_the_vip_alone_is_told_of_listeners_and_of_firewalls() -> None:
    said = named(Findings(VIP, "l2dsr", REFUSED, PASSED, False)).detail
    assert f"let the service listen on {VIP}, or on all addresses" in said
    assert "where it does, a rule of the server's firewall refuses" in said


def test_the_line_that_mends_a_tunnel_says_which_one() -> None:
    found = Findings(VIP, "l3dsr", SILENT, PASSED, True, options=ModeOptions(encap="gue", encap_port=6081))
    assert named(found).detail.endswith(f"--mode l3dsr --vip {VIP} --encap gue --encap-port 6081")


def test_a_second_question_is_asked_only_where_it_tells_more() -> None:
    assert is_open(SILENT, False) and is_open(REFUSED, False) and is_open(UNREACHABLE, False)
    assert not is_open(SILENT, True), "a connection came about: the VIP is there"
    assert not is_open(PASSED, True) and not is_open(LATE, True)

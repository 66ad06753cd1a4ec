"""Is everything that cannot work named, each thing once, in a sentence, at the key that has to change?

The modes here are stand-ins that differ in just what the checks ask of a mode.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from ipaddress import ip_address
from typing import Any

import pytest
from click.testing import CliRunner, Result

from dsrlb import modes
from dsrlb.cli import cli, options
from dsrlb.cli.options import config_of
from dsrlb.config import MAX_BACKENDS, Draft, parse_backend, parse_vip, problems, service_of
from dsrlb.errors import ConfigError
from dsrlb.model import SAME_PORT, Backend, ModeOptions, Persist, Service
from dsrlb.modes.l2dsr import L2DSR

MAC = bytes.fromhex("0200c6120102")
VIP = ip_address("198.18.0.10")
VIP_AND_PORT = parse_vip(f"{VIP}:80")
ONE, TWO = Backend(ip_address("198.18.0.21")), Backend(ip_address("198.18.0.22"))
SIX = Backend(ip_address("2001:db8::21"))
WRAPPING = replace(L2DSR, name="wrapping", options=frozenset(("encap", "encap_port", "source", "clamp_mss")))
TRANSLATING = replace(
    L2DSR,
    name="translating",
    options=frozenset(("snat", "source")),
    translates_ports=True,
    crosses_families=False,
)


@pytest.fixture(autouse=True)
def stand_ins(monkeypatch: pytest.MonkeyPatch) -> None:
    every = (L2DSR, WRAPPING, TRANSLATING)
    monkeypatch.setattr(modes, "MODES", every)
    monkeypatch.setattr(modes, "BY_NAME", {mode.name: mode for mode in every})


def draft(*backends: Backend | None, **fields: Any) -> Draft:
    fields = {"vip": VIP_AND_PORT, "mode": "l2dsr"} | fields
    return Draft(backends=backends, **fields)


def check(drafts: Sequence[Draft], *expected: str) -> None:
    """Require exactly these problems, in any order, each by a part of its sentence."""
    found = [problem.sentence for problem in problems(drafts)]
    assert len(found) == len(expected), found
    for words in expected:
        assert any(words in sentence for sentence in found), (words, found)
    assert not any("\n" in sentence for sentence in found)


UDP = parse_vip(f"{VIP}:80/udp")


def test_without_handshakes_there_is_nothing_to_watch() -> None:
    check([draft(ONE, vip=UDP, passive=True)], "passive looks at handshakes, which there are by TCP only")
    check([draft(ONE, vip=UDP, passive=False), draft(ONE, passive=True)])


OTHER_PORT, OTHER_VIP = parse_vip(f"{VIP}:81"), parse_vip("198.18.0.11:80")
MANY = [Backend(ip_address(0xC6120000 + n)) for n in range(256, 257 + MAX_BACKENDS)]


@pytest.mark.parametrize(
    ("drafts", "sentences"),
    [
        ([draft(ONE, TWO)], []),
        ([draft(ONE), draft(ONE, vip=OTHER_PORT), draft(ONE, vip=UDP)], []),
        ([draft(ONE, replace(TWO, weight=0))], []),
        ([draft(ONE), draft(ONE, vip=parse_vip(f"{VIP}:*"))], []),  # the more specific one wins
        ([draft(ONE), draft(ONE)], ["VIP 198.18.0.10:80/tcp is given 2 times"]),
        ([draft()], ["it has no backend"]),
        ([draft(ONE, replace(ONE, weight=2, mac=MAC))], ["backend 198.18.0.21 is listed 2 times"]),
        ([draft(ONE, replace(ONE, port=80))], ["198.18.0.21:80 is listed 2 times"]),
        ([draft(ONE, Backend(VIP))], ["backend 198.18.0.10 is a VIP itself"]),
        (
            [draft(ONE), draft(Backend(VIP), vip=OTHER_VIP)],
            ["service 198.18.0.11:80/tcp: backend 198.18.0.10 is a VIP itself"],
        ),
        ([draft(replace(ONE, weight=0))], ["all weights are 0"]),
        ([draft(*MANY)], [f"{MAX_BACKENDS + 1} backends are more than the {MAX_BACKENDS}"]),
        (
            [draft(Backend(VIP, 0), Backend(VIP, 0))],
            ["is listed 2 times", "is a VIP itself", "is a VIP itself", "all weights are 0"],
        ),
        ([draft(ONE, label="web"), draft(ONE, vip=UDP, label="web")], ["name 'web' is given 2 times"]),
        ([draft(ONE, TWO), draft(ONE, TWO, vip=UDP)], []),  # without names
        (
            [draft(replace(ONE, label="a"), replace(TWO, label="a"), label="web")],
            ["service web: backend name 'a' is given 2 times"],
        ),
        (
            [draft(replace(ONE, label="a")), draft(replace(TWO, label="a"), vip=UDP)],
            [],
        ),
        (
            [draft(replace(ONE, mac=MAC)), draft(replace(ONE, mac=MAC[::-1]), vip=UDP)],
            ["backend 198.18.0.21 is given MAC 02:01:12:c6:00:02 here and 02:00:c6:12:01:02 elsewhere"],
        ),
        ([draft(replace(ONE, mac=MAC)), draft(ONE, vip=UDP)], []),
    ],
)
def test_every_problem_of_vips_and_backends_is_named(drafts: list[Draft], sentences: list[str]) -> None:
    check(drafts, *sentences)


@pytest.mark.parametrize(
    ("it", "sentences"),
    [
        (draft(replace(ONE, port=80)), []),
        (draft(replace(ONE, port=8080)), ["backend 198.18.0.21:8080: mode l2dsr translates no ports"]),
        (draft(replace(SIX, port=8080)), ["backend [2001:db8::21]:8080: mode l2dsr translates no ports"]),
        (draft(replace(ONE, port=8080), mode="translating"), []),
        (draft(replace(ONE, port=8080), replace(ONE, port=8081), ONE, mode="translating"), []),
        (
            draft(replace(ONE, port=8080), mode="translating", vip=parse_vip(f"{VIP}:*")),
            ["is for every port"],
        ),
        (draft(SIX), []),
        (draft(SIX, mode="translating"), ["backend 2001:db8::21 and VIP 198.18.0.10 differ in IP version"]),
    ],
)
def test_a_backend_that_the_mode_cannot_serve_is_named(it: Draft, sentences: list[str]) -> None:
    check([it], *sentences)


@pytest.mark.parametrize(
    ("mode", "given", "sentences"),
    [
        ("l2dsr", {"snat": True}, ["mode l2dsr does not know snat, which is for mode translating"]),
        ("l2dsr", {"snat": False}, ["mode l2dsr does not know snat"]),
        ("l2dsr", {"encap": "ipip"}, ["mode l2dsr does not know encap, which is for mode wrapping"]),
        ("l2dsr", {"source": TWO.address}, ["source, which is for mode wrapping and translating"]),
        ("wrapping", {"snat": True, "clamp_mss": True}, ["mode wrapping does not know snat"]),
        ("wrapping", {"encap": "gue", "encap_port": 6081, "source": TWO.address, "clamp_mss": True}, []),
        ("wrapping", {"encap": "gue1", "encap_port": 6081}, []),
        ("wrapping", {"encap_port": 6081}, ["encap_port is of use with encap gue or gue1 only"]),
        ("wrapping", {"encap": "ipip", "encap_port": 6081}, ["encap_port is of use with encap gue or gue1"]),
        ("wrapping", {"source": SIX.address}, ["source 2001:db8::21 and backend 198.18.0.21 differ"]),
        ("wrapping", {"source": VIP}, ["source 198.18.0.10 is a VIP"]),
        ("wrapping", {"source": ONE.address}, ["source 198.18.0.21 is a backend"]),
        ("translating", {"snat": True, "source": TWO.address}, []),
        ("translating", {"source": TWO.address}, ["source is of use with snat only"]),
        ("translating", {"snat": False, "source": TWO.address}, ["source is of use with snat only"]),
    ],
)  # fmt: skip
def test_an_option_that_does_not_go_with_its_mode_is_named(
    mode: str, given: dict[str, Any], sentences: list[str]
) -> None:
    check([draft(ONE, mode=mode, options=given)], *sentences)


@pytest.mark.parametrize(
    ("vip", "prefix", "sentences"),
    [
        (f"{VIP}:80", 32, []),
        (f"{VIP}:80", 33, ["persist prefix /33 is longer than an IPv4 client's address; write 1 to 32"]),
        ("[2001:db8::10]:80", 128, []),
        ("[2001:db8::10]:80", None, []),
    ],
)
def test_a_persist_prefix_fits_the_clients_of_the_vip(
    vip: str, prefix: int | None, sentences: list[str]
) -> None:
    check([draft(ONE, vip=parse_vip(vip), persist=(300, prefix))], *sentences)


def test_what_could_not_be_read_hides_no_other_problem_and_makes_no_new_one() -> None:
    check([Draft(None, None, (None, ONE, ONE), None, {"encap_port": 7})], "is listed 2 times", "encap_port")
    check([draft(None)])
    check([draft(None, replace(ONE, weight=0))])
    check([Draft(None, "l2dsr", ()), Draft(None, "l2dsr", ())], *["without a VIP: it has no backend"] * 2)


def test_each_problem_is_at_its_key() -> None:
    drafts = [
        draft(ONE, replace(TWO, port=8080), options={"snat": True}, persist=(1, 40)),
        draft(replace(ONE, label="a"), replace(ONE, label="a", weight=0), Backend(VIP), label="web"),
        draft(replace(ONE, mac=MAC), replace(TWO, mac=MAC), vip=UDP, label="web"),
        draft(replace(ONE, mac=MAC[::-1]), SIX, vip=OTHER_PORT, mode="translating"),
    ]
    assert {problem.at[1:] for problem in problems(drafts)} == {
        (0, "backend", 1, "port"),
        (0, "snat"),
        (0, "persist"),
        (1, "vip"),
        (1, "backend", 1, "name"),
        (1, "backend", 1, "address"),
        (1, "backend", 2, "address"),
        (2, "name"),
        (3, "backend", 0, "mac"),
        (3, "backend", 1, "address"),
    }
    assert {problem.at[0] for problem in problems(drafts)} == {"service"}


def test_a_draft_becomes_a_service_that_names_its_own_port_in_one_way() -> None:
    backends = (replace(ONE, port=80), replace(TWO, port=81))
    it = draft(*backends, mode="translating", options={"snat": True}, persist=(300, 24), label="web")
    expected = Service(
        VIP, 80, "tcp", "translating", "maglev", (replace(ONE, port=SAME_PORT), backends[1]),
        ModeOptions(snat=True), Persist(300, ipv4_prefix=24), label="web",
    )  # fmt: skip
    assert service_of(it) == expected
    six = service_of(draft(ONE, vip=parse_vip("[2001:db8::10]:80"), persist=(300, 56)))
    assert six.persist == Persist(300, ipv6_prefix=56)
    assert service_of(draft(ONE, persist=(300, None))).persist == Persist(300)


def test_a_draft_with_something_missing_is_no_service() -> None:
    with pytest.raises(ValueError, match="problems"):
        service_of(Draft(None, "l2dsr", (ONE,)))


# ----------------------------------------------------------------------------- flags


def test_flags_become_one_service_a_vip_with_every_backend_behind_it() -> None:
    config = config_of("l2dsr", (VIP_AND_PORT, parse_vip("[2001:db8::10]:53/udp")), (ONE, TWO))
    assert [one.name for one in config.services] == ["198.18.0.10:80/tcp", "[2001:db8::10]:53/udp"]
    assert {one.backends for one in config.services} == {(ONE, TWO)}
    assert {one.scheduler for one in config.services} == {"maglev"}


def test_flags_that_cannot_work_are_refused_with_all_that_is_wrong() -> None:
    with pytest.raises(ConfigError) as caught:
        config_of("l2dsr", (VIP_AND_PORT,) * 2, (ONE, ONE, Backend(VIP)), "rr")
    assert len(caught.value.problems) == 3
    assert caught.value.exit_code == 3
    assert str(caught.value) == "\n".join(caught.value.problems)


def test_one_persist_prefix_for_both_families_is_refused() -> None:
    vips = (VIP_AND_PORT, parse_vip("[2001:db8::10]:80"))
    assert config_of("l2dsr", vips, (ONE,), persist=(300, None)).services[1].persist == Persist(300)
    with pytest.raises(ConfigError, match="/24 cannot mean IPv4 and IPv6 clients alike"):
        config_of("l2dsr", vips, (ONE,), persist=(300, 24))


def replay(*flags: str) -> Result:
    base = ["replay", "--mode", "l2dsr", "--vip", f"{VIP}:80", "--backend", "198.18.0.21"]
    return CliRunner().invoke(cli, [*base, *flags, "no/such.pcap", "out.pcap"])


@pytest.mark.parametrize(
    "flags",
    [
        ["--encap", "ipip"],
        ["--encap-port", "6080"],
        ["--source", "198.18.0.5"],
        ["--clamp-mss"],
        ["--snat"],
    ],
)
def test_an_option_that_was_given_is_checked_even_if_it_says_what_holds_anyway(flags: list[str]) -> None:
    error = replay(*flags).exception
    assert isinstance(error, ConfigError)
    word = flags[0].removeprefix("--").replace("-", "_")
    assert any(f"mode l2dsr does not know {word}" in one for one in error.problems)


@pytest.mark.parametrize(
    "flags", [["--persist", "0"], ["--encap", "gre"], ["--encap-port", "0"], ["--source", "::"]]
)
def test_a_malformed_option_is_a_matter_of_usage(flags: list[str]) -> None:
    done = replay(*flags)
    assert (done.exit_code, flags[0] in done.output) == (2, True)


def test_flags_reach_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Draft] = []
    monkeypatch.setattr(options.configuration, "problems", lambda drafts: seen.extend(drafts) or [])
    replay("--persist", "300/24", "--encap", "gue", "--encap-port", "7", "--source", "198.18.0.5",
           "--clamp-mss", "--snat", "--scheduler", "rr", "--backend", "198.18.0.22:8080,name=b")  # fmt: skip
    (it,) = seen
    assert (it.persist, it.scheduler, it.backends[1]) == (
        (300, 24),
        "rr",
        parse_backend("198.18.0.22:8080,name=b"),
    )
    assert it.options == {
        "encap": "gue",
        "encap_port": 7,
        "source": ip_address("198.18.0.5"),
        "clamp_mss": True,
        "snat": True,
    }

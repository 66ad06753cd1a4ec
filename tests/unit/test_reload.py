"""Is a new configuration refused for what it changes, and only for that?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import balancer
import pytest
from packets import BACKENDS, VIP, VIP6, tcp

from dsrlb.config import Config, config_in, read_config
from dsrlb.control import reload
from dsrlb.control.reload import Prepared, Running, _refuse_what_lasts, changes, prepare
from dsrlb.errors import ConfigError, DsrlbError, HostError
from dsrlb.host import guard
from dsrlb.host.links import Link
from dsrlb.preflight import Finding, Ground, Way
from dsrlb.state import State, forget_others

E0, E1 = (Link(number, f"e{number}", bytes(5) + bytes((number,)), 1500, True, (), ()) for number in (0, 1))
TEXT = """interfaces = ["e0"]
[[service]]
vip = "198.18.1.100:80"
mode = "l2dsr"
[[service.backend]]
address = "198.18.1.11"
"""
OTHER_VIP = (
    "\n[[service]]\nvip = '198.18.1.101:80'\nmode = 'l2dsr'\nbackend = [{ address = '198.18.1.11' }]\n"
)
MORE = "[[service.backend]]\naddress = '198.18.1.12'\n"
RS1, RS2 = ip_address("198.18.1.11"), ip_address("198.18.1.12")


class Host:
    """What the host and the network would say."""

    def __init__(self) -> None:
        self.links: tuple[Link, ...] = (E0,)
        self.findings: list[Finding] = []
        self.taken: list[Finding] = []
        self.silent: set[object] = set()
        self.asked: list[tuple[object, str]] = []
        self.resolved: list[object] = []
        self.claimed: list[guard.Claim] = []

    def look(self, config: Config, *, force: bool, ours: object) -> tuple[Ground, tuple[Finding, ...]]:
        vips = tuple(dict.fromkeys(service.vip for service in config.services))
        lost = {finding.subject for finding in self.findings}
        backends = {one.address for service in config.services for one in service.backends} - lost
        ways = {address: Way(E0, address, 1500, None) for address in backends}
        return Ground(self.links, vips, vips, ways, {}), tuple(self.findings)

    def other_owners(self, pairs: Any, own: Any) -> list[Finding]:
        self.asked = [(vip, one.name) for vip, one in pairs]
        return self.taken

    def resolver(self, targets: Any) -> Any:
        asked = list(targets)
        self.resolved = [address for _, address in asked]
        macs = {one: None if one[1] in self.silent else b"\2" * 6 for one in asked}
        return type("Resolver", (), {"step": lambda _, now: macs, "close": lambda _: None})()

    def claim(self, vips: Any) -> guard.Claim:
        self.claimed.append(guard.Claim({vip: Lock() for vip in vips}))  # type: ignore[misc]
        return self.claimed[-1]


class Lock:
    """Stands in for the socket whose name is a claim."""

    def close(self) -> None:
        pass


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Host:
    it = Host()
    monkeypatch.setattr(reload, "look", it.look)
    monkeypatch.setattr(reload, "other_owners", it.other_owners)
    monkeypatch.setattr(reload, "Resolver", it.resolver)
    monkeypatch.setattr(reload.guard, "claim", it.claim)
    monkeypatch.setattr(reload, "RESOLVE_WITHIN_S", 0.1)
    return it


@pytest.fixture
def reread(tmp_path: Path, host: Host) -> Callable[..., Prepared]:
    """``reread(text)``: prepare what the file says now, while ``TEXT`` (or ``before``) runs."""
    file = tmp_path / "dsrlb.toml"

    def run(text: str, before: str = TEXT, **more: Any) -> Prepared:
        file.write_text(before)
        running = Running(read_config(file), (E0,), frozenset(), force=False)
        file.write_text(text)
        return prepare(replace(running, **more))

    return run


def test_services_of_mode_proxy_are_tried_and_what_is_refused_claims_nothing(
    reread: Callable[..., Prepared], host: Host
) -> None:
    assert reread(TEXT, trial=lambda services: f"tried {len(services)}").checked == "tried 0"

    def refuse(_: object) -> str:
        raise ConfigError("HAProxy does not take it")

    with pytest.raises(ConfigError, match="does not take it"):
        reread(TEXT + OTHER_VIP, trial=refuse)
    assert not held(host.claimed[-1])


def held(claim: guard.Claim) -> set[str]:
    return {str(vip) for vip in claim._locks}


def test_what_is_new_is_claimed_asked_for_and_resolved_and_nothing_else(
    reread: Callable[..., Prepared], host: Host
) -> None:
    same = reread(TEXT)
    assert (held(same.claim), host.asked, host.resolved) == (set(), [], [])
    more = reread(TEXT + MORE + OTHER_VIP)
    assert held(more.claim) == {"198.18.1.101"}
    assert host.asked == [(ip_address("198.18.1.101"), "e0")]
    assert host.resolved == [RS2]
    host.links = (E0, E1)
    reread(TEXT + OTHER_VIP)
    assert len(host.asked) == 3  # both VIPs on the new interface, the new one on the old


def test_a_problem_of_something_new_refuses_and_the_claim_is_given_back(
    reread: Callable[..., Prepared], host: Host
) -> None:
    host.findings = [Finding(RS2, "off-link")]
    with pytest.raises(ConfigError, match=r"dsrlb\.toml:8: off-link"):
        reread(TEXT + MORE)
    host.findings, host.taken = [], [Finding(ip_address("198.18.1.101"), "another has it")]
    with pytest.raises(ConfigError, match=r"dsrlb\.toml:9: another has it"):
        reread(TEXT + OTHER_VIP)
    assert held(host.claimed[-1]) == set()
    reread(TEXT + OTHER_VIP, force=True)
    assert held(host.claimed[-1]) == {"198.18.1.101"}


def test_what_runs_already_and_was_not_changed_is_excused(
    reread: Callable[..., Prepared], host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    host.findings = [
        Finding(RS1, "unreachable"),
        Finding("e0", "down"),
        Finding(ip_address("198.18.1.100"), "own"),
    ]
    prepared = reread(TEXT + MORE)
    assert prepared.lost[RS1] == "unreachable" and RS2 in prepared.ground.ways
    assert [record.message for record in caplog.records] == ["unreachable", "down", "own"]


@pytest.mark.parametrize(
    "text",
    [
        TEXT.replace('"l2dsr"', '"l3dsr"'),
        TEXT + "mac = '02:00:c6:12:01:11'\n",
        TEXT.replace("198.18.1.100", "198.18.1.11").replace(
            'address = "198.18.1.11"', 'address = "198.18.1.12"'
        ),
    ],
)
def test_what_plays_another_role_now_is_not_excused(
    text: str, reread: Callable[..., Prepared], host: Host
) -> None:
    host.findings = [Finding(RS1, "off-link")]
    with pytest.raises(ConfigError, match="off-link"):
        reread(text)


def test_another_choice_about_the_mode_is_not_excused(reread: Callable[..., Prepared], host: Host) -> None:
    host.findings = [Finding(RS1, "no way back")]
    with_snat = TEXT.replace('"l2dsr"', '"inline"\nsnat = true')
    assert reread(with_snat, before=with_snat).lost[RS1] == "no way back"
    with pytest.raises(ConfigError, match="no way back"):
        reread(TEXT.replace('"l2dsr"', '"inline"'), before=with_snat)


def test_an_interface_that_is_missing_is_not_excused(reread: Callable[..., Prepared], host: Host) -> None:
    host.links, host.findings = (), [Finding("e0", "missing")]
    with pytest.raises(ConfigError, match="missing"):
        reread(TEXT)


def test_new_servers_that_are_silent_refuse_only_where_no_other_is_left(
    reread: Callable[..., Prepared], host: Host
) -> None:
    host.silent = {RS2}
    only_new = TEXT.replace("198.18.1.11", "198.18.1.12")
    reread(TEXT + MORE)
    reread(only_new, force=True)
    reread(TEXT, unresolved=frozenset((RS1,)))  # nothing new: the operator knows
    for text, unresolved in ((only_new, frozenset[Any]()), (TEXT + MORE, frozenset((RS1,)))):
        with pytest.raises(ConfigError, match="No backend can be reached"):
            reread(text, unresolved=unresolved)


def test_a_configuration_of_options_and_a_bad_file_are_refused(reread: Callable[..., Prepared]) -> None:
    with pytest.raises(DsrlbError, match="no file to read again"):
        reread(TEXT, config=Config(()))
    with pytest.raises(ConfigError, match=r"dsrlb\.toml:1: "):
        reread("bogus = 1\n" + TEXT)


def test_a_refused_claim_is_told(reread: Callable[..., Prepared], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(vips: Any) -> guard.Claim:
        raise HostError("no privilege")

    monkeypatch.setattr(reload.guard, "claim", refuse)
    with pytest.raises(HostError):
        reread(TEXT + OTHER_VIP)


def test_the_log_names_what_a_reload_changes() -> None:
    one, two, three = (
        Config(balancer.services(vips=[vip])) for vip in (f"{VIP}:80", f"{VIP}:81", f"[{VIP6}]:80")
    )
    assert list(changes(one, one)) == []
    assert list(changes(one, two)) == [f"added {VIP}:81/tcp", f"removed {VIP}:80/tcp"]
    fewer = Config(balancer.services(vips=[f"{VIP}:80"], backends=balancer.ALL_BACKENDS[:1]), ("e1", "e2"))
    assert list(changes(one, fewer)) == [f"changed {VIP}:80/tcp", "interfaces e1, e2"]
    assert list(changes(three, Config((*three.services, *one.services)))) == [f"added {VIP}:80/tcp"]


# ----------------------------------------------------------------------------- what is remembered


def test_what_a_table_has_no_more_is_forgotten_once_its_flows_are_over() -> None:
    full, state = balancer.table(scheduler="rr"), State()
    frames = [tcp(sport=1024 + number) for number in range(60)]
    balancer.feed(frames, full, state)
    assert len(state.backends) == len(BACKENDS)
    fewer = balancer.table(backends=balancer.ALL_BACKENDS[:1])
    assert not forget_others(state, fewer)  # their flows are on record
    assert len(state.backends) == len(BACKENDS)
    while len(state.flows):
        state.flows.expire(10_000)
    assert forget_others(state, fewer)
    assert len(state.backends) == 1
    assert forget_others(state, balancer.table(vips=[f"{VIP}:9"]))
    assert not (state.backends or state.turns or state.races or state.routes)


WITH_METRICS = "metrics = {}\n" + TEXT


def test_metrics_do_not_move_while_dsrlb_runs() -> None:
    running, other = (
        config_in(WITH_METRICS.format(at).encode(), "dsrlb.toml") for at in (9311, '"[::1]:9311"')
    )
    assert running.metrics == (ip_address("127.0.0.1"), 9311)
    _refuse_what_lasts(running, running)
    with pytest.raises(ConfigError, match=r"^dsrlb.toml:1: metrics cannot change while dsrlb runs; restart"):
        _refuse_what_lasts(other, running)

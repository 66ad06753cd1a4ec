"""Is what is shown what holds, and what is asked for what is done?"""

from __future__ import annotations

import itertools
import time
from base64 import b64encode
from dataclasses import replace
from ipaddress import ip_address
from typing import Any

import balancer
import pytest
from packets import CLIENT, VIP
from pretended_loop import SERVICE, A, B, C, Loop, rows, web

from dsrlb.admin import flows
from dsrlb.engines.base import FlowSeen
from dsrlb.model import wire_address
from dsrlb.standing import Health, named
from dsrlb.wire.l4 import flow_key


@pytest.fixture
def loop() -> Loop:
    return Loop(web())


def test_each_backend_s_share_stands_beside_the_expected_one(loop: Loop) -> None:
    loop.ask(do="weight", backend="rs1", weight=2)
    loop.clients(8)
    shown = rows(loop)
    assert [(row["expected_percent"], row["share_percent"]) for row in shown.values()] == [
        (50.0, 50.0),
        (25.0, 25.0),
        (25.0, 25.0),
    ]
    assert [(row["flows"], row["active"], row["inactive"]) for row in shown.values()] == [
        (4, 0, 4),
        (2, 0, 2),
        (2, 0, 2),
    ]
    (service,) = loop.ask(do="show", what="services")
    assert (service["flows"], service["backends"], service["taking_new_flows"]) == (8, 3, 3)
    assert service["drifting"] == 1


def test_what_differs_from_the_file_is_told_until_it_does_not(loop: Loop) -> None:
    loop.ask(do="weight", backend=A, weight=5)
    loop.ask(do="drain", backend=B)
    loop.ask(do="disable", backend=C)
    drift = [row["drift"] for row in rows(loop).values()]
    assert drift == [["weight 5, file says 1"], ["drained, not by the file"], ["disabled, not by the file"]]
    loop.ask(do="weight", backend=A, weight="configured")
    loop.ask(do="undrain", backend=B)
    loop.ask(do="enable", backend=C)
    assert [row["drift"] for row in rows(loop).values()] == [[], [], []]
    loop.config = replace(loop.config, origin=None)
    loop.ask(do="weight", backend=A, weight=5)
    assert rows(loop)[A]["drift"] == ["weight 5, options say 1"]


def test_a_drained_backend_shows_what_it_still_has(loop: Loop) -> None:
    loop.clients(6)
    said = loop.ask(do="drain", backend="rs1", service="web")
    assert said["backends"][0]["remaining"] == {"active": 0, "inactive": 2, "at_least": False}
    loop.clients(9)
    shown = rows(loop)
    assert (shown[A]["flows"], sum(row["flows"] for row in shown.values())) == (2, 9)
    assert shown[A]["standing"] == ["drained"] and shown[B]["remaining"] is None


def test_a_backend_that_is_down_says_why_beside_what_the_operator_says(loop: Loop) -> None:
    names = [names for names, _ in named(loop.config.services[0])]
    loop.standings.hear(names[0], Health(False, "refused"), 1)
    loop.ask(do="drain", backend=A)
    loop.ask(do="disable", backend=A)
    assert (rows(loop)[A]["standing"], rows(loop)[A]["why"]) == (["disabled", "drained", "down"], "refused")


def test_a_backend_without_a_mac_is_unresolved() -> None:
    (made,) = balancer.services([f"{VIP}:80"], [A])
    assert rows(Loop(made))[A]["standing"] == ["unresolved"]


def test_with_hash_cursors_nobody_knows_which_flows_live() -> None:
    loop = Loop(web("maglev"))
    loop.clients(30)
    assert all(row["active"] is None and row["flows"] for row in rows(loop).values())
    assert loop.ask(do="show", what="flows")["unrecorded"] == [SERVICE]


def test_backends_are_meant_by_name_or_address_in_one_service_or_in_all() -> None:
    dns = replace(web(), port=53, protocol="udp", label="dns")
    loop = Loop(web(), dns)
    for backend, service, count in (
        ("rs1", None, 2),
        (A, None, 2),
        (A, "dns", 1),
        ("rs1", f"{VIP}:80", 1),
        ("rs1", f"{VIP}:53/udp", 1),
    ):
        said = loop.ask(do="drain", backend=backend, **({"service": service} if service else {}))
        assert len(said["backends"]) == count, (backend, service)


def test_a_packet_is_explained_as_it_is_then_forwarded(loop: Loop) -> None:
    for number in range(4):
        row = loop.ask(do="explain", client=f"198.18.0.2:{40_000 + number}", to=SERVICE)
        [out] = balancer.sent(balancer.feed([bytes.fromhex(row["frame"])], loop.table(), loop.state))
        assert (row["engine"], row["service"]["name"], row["why"]) == ("packet", "web", "turn")
        assert out.hex() == row["out"]["frame"]
    frame = b64encode(b"\x02" + out[1:]).decode()
    assert loop.ask(do="explain", frame=frame)["reason"] == "not_for_us"
    assert loop.ask(do="explain", frame=frame, to_us=True)["reason"] == "forwarded"


def test_a_port_tells_backends_of_one_address_apart() -> None:
    macs = balancer.ALL_BACKENDS[0].partition(",")[2]
    (made,) = balancer.services([f"{VIP}:80"], [f"{A}:{port},{macs}" for port in (8080, 8081)], mode="inline")
    loop = Loop(made)
    assert [row["backend"] for row in loop.ask(do="show", what="backends", backend=f"{A}:8081")] == [
        f"{A}:8081"
    ]
    assert len(loop.ask(do="show", what="backends", backend=A)) == 2


@pytest.mark.parametrize(
    ("request_", "sentence"),
    [
        ({"do": "fly"}, "cannot be to do 'fly'; there are show, drain"),
        ({}, "cannot be to do None"),
        ({"do": ["show"]}, "cannot be to do"),
        ({"do": "show", "what": "moon"}, "nothing is shown as 'moon'; there are services"),
        ({"do": "show", "what": {}}, "nothing is shown as"),
        ({"do": "show", "what": "counters", "x": 1}, "has no 'x'"),
        ({"do": "drain"}, "does not say which backend"),
        ({"do": "drain", "backend": 7}, "backend 7 is not a text"),
        ({"do": "drain", "backend": "rs9"}, f"no backend is 'rs9'; there are {A} (rs1)"),
        ({"do": "drain", "backend": "rs9", "service": "web"}, "no backend of service web is 'rs9'"),
        ({"do": "drain", "backend": "rs1", "service": "dns"}, "no service is 'dns'; there is"),
        ({"do": "weight", "backend": "rs1", "weight": -1}, "weight -1 is neither"),
        ({"do": "weight", "backend": "rs1", "weight": True}, "weight True is neither"),
        ({"do": "weight", "backend": "rs1", "weight": 65_536}, "weight 65536 is neither"),
        ({"do": "weight", "backend": "rs1"}, "weight None is neither"),
        ({"do": "drain", "backend": "rs1", "within": -1}, "within -1 is not a whole number"),
        ({"do": "drain", "backend": "rs1", "within": True}, "within True is not a whole number"),
        ({"do": "drain", "backend": "rs1", "within": 1.5}, "within 1.5 is not a whole number"),
        ({"do": "undrain", "backend": "rs1", "within": 5}, "has no 'within'"),
        ({"do": "drain", "backend": "rs1", "durable": 1}, "durable 1 is not true or false"),
        ({"do": "show", "what": "flows", "limit": 0}, "limit 0 is not 1 to 10000"),
        ({"do": "show", "what": "flows", "limit": True}, "limit True is not a number"),
        ({"do": "explain"}, "says neither client and to, nor frame"),
        ({"do": "explain", "client": "here", "to": SERVICE}, "client 'here' is not ADDR:PORT"),
        ({"do": "explain", "client": "198.18.0.2:1", "to": "web"}, "VIP 'web' is not ADDR:PORT"),
        ({"do": "explain", "frame": "*"}, "the frame is not in base 64"),
        ({"do": "explain", "frame": "A" * 16_004}, "the frame has 12003 bytes; at most 12000"),
        ({"do": "explain", "frame": "", "interface": "e9"}, "do not come in by 'e9'; they do by e0"),
        ({"do": "show", "what": "flows", "client": "here"}, "client 'here' is neither an address nor"),
    ],
)
def test_what_cannot_be_is_one_sentence_and_changes_nothing(
    loop: Loop, request_: dict[str, Any], sentence: str
) -> None:
    before = dict(loop.standings.of)
    assert sentence in loop.error(**request_)
    assert loop.standings.of == before


def test_who_takes_the_last_backend_away_is_told_what_that_means(loop: Loop) -> None:
    assert loop.ask(do="drain", backend=A)["notes"] == loop.ask(do="drain", backend=B)["notes"] == []
    assert loop.ask(do="drain", backend=C)["notes"] == [f"{SERVICE} (web) has no backend for new flows now"]
    (service,) = loop.ask(do="show", what="services")
    assert (service["taking_new_flows"], service["fate"]) == (0, "dropped")


def test_who_gives_a_weight_that_its_scheduler_does_not_heed_is_told_so() -> None:
    loop = Loop(web("rr"))
    assert loop.ask(do="weight", backend=A, weight=0)["notes"] == []
    (note,) = loop.ask(do="weight", backend=A, weight=3)["notes"]
    assert note == f"{SERVICE} (web): scheduler rr gives all weights above 0 the same"


def test_a_wish_that_the_engine_cannot_follow_yet_is_told_so(loop: Loop) -> None:
    def fail() -> None:
        raise OSError("no memory")

    loop.look_again = fail  # type: ignore[method-assign]
    assert "could not follow yet (no memory)" in loop.error(do="drain", backend=A)


def test_a_failure_of_ours_is_an_answer_too(loop: Loop) -> None:
    loop.engine.counters = lambda: 1 / 0
    assert loop.error(do="show", what="counters").startswith("ZeroDivisionError")


def test_a_reload_is_answered_when_it_is_over(loop: Loop) -> None:
    answers = loop.answers(do="reload")
    assert answers == [] and len(loop.told) == 1
    loop.told[0]([])
    assert answers == [{"ok": True, "answer": None}]
    refused = loop.answers(do="reload")
    loop.told[1](["dsrlb.toml:3: one", "dsrlb.toml:4: two"])
    assert refused == [{"ok": False, "error": "dsrlb.toml:3: one\ndsrlb.toml:4: two", "code": 3}]


def test_flows_tell_client_and_server(loop: Loop) -> None:
    loop.clients(6)
    shown = loop.ask(do="show", what="flows")
    assert (len(shown["flows"]), shown["on_record"], shown["complete"]) == (6, 6, True)
    first = shown["flows"][0]
    assert first["client"] == f"{CLIENT}:40000" and first["name"] in ("rs1", "rs2", "rs3")
    assert (first["service"], first["port"], first["state"]) == (SERVICE, 80, "syn_received")
    assert 55 <= first["ends_in_s"] <= 60
    of_one = loop.ask(do="show", what="flows", backend="rs2")["flows"]
    assert [flow["backend"] for flow in of_one] == [B, B]
    assert loop.ask(do="show", what="flows", client="203.0.113.1")["flows"] == []
    assert len(loop.ask(do="show", what="flows", client=f"{CLIENT}/24")["flows"]) == 6


def test_flows_are_as_many_as_wanted_and_it_is_told_that_there_are_more(loop: Loop) -> None:
    loop.clients(6)
    shown = loop.ask(do="show", what="flows", limit=4)
    assert (len(shown["flows"]), shown["complete"]) == (4, False)
    assert loop.ask(do="show", what="flows", limit=6)["complete"] is True


def flow(sport: int, ends_in_s: int = 60) -> FlowSeen:
    key = flow_key(
        wire_address(ip_address(CLIENT)), wire_address(ip_address(VIP)), sport.to_bytes(4, "big"), 6
    )
    return FlowSeen(key, None, bytes(16), 0, int(time.monotonic()) + ends_in_s)


def test_a_long_look_leaves_the_loop_to_others_again_and_again(
    loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flows, "GO_ON_FOR_S", 0.0)
    loop.engine.flows = lambda: iter([flow(number) for number in range(1000)])
    answers = loop.answers(do="show", what="flows", client="203.0.113.1")
    turns = 0
    while not answers:
        _, do = loop.events.get_nowait()
        do()
        turns += 1
    assert turns == 1000 // flows.PAUSE_EVERY
    assert (answers[0]["answer"]["looked_at"], answers[0]["answer"]["complete"]) == (1000, True)


def test_looking_for_a_flow_among_millions_ends_in_time(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flows, "GO_ON_FOR_S", 0.0)
    monkeypatch.setattr(flows, "LOOK_FOR_S", 0.1)
    loop.engine.flows = lambda: itertools.repeat(flow(1))
    answers = loop.answers(do="show", what="flows", client="203.0.113.1")
    while not answers:
        loop.events.get_nowait()[1]()
    assert answers[0]["answer"]["flows"] == [] and answers[0]["answer"]["complete"] is False


def test_a_look_that_fails_half_way_is_answered(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> Any:
        yield from (flow(number) for number in range(flows.PAUSE_EVERY))
        raise OSError("gone")

    monkeypatch.setattr(flows, "GO_ON_FOR_S", 0.0)
    loop.engine.flows = broken
    answers = loop.answers(do="show", what="flows", limit=1000)
    loop.events.get_nowait()[1]()
    assert answers[0]["error"].startswith("OSError: gone")


def test_flows_that_are_over_are_not_shown(loop: Loop) -> None:
    loop.engine.flows = lambda: iter([flow(1, ends_in_s=-5), flow(2)])
    assert len(loop.ask(do="show", what="flows")["flows"]) == 1


def test_counters_and_engines_are_shown(loop: Loop) -> None:
    loop.clients(3)
    assert loop.ask(do="show", what="counters") == [{"reason": "forwarded", "frames": 3}]
    (engine,) = loop.ask(do="show", what="engines")
    assert (engine["engine"], engine["flows_on_record"], engine["max_flows"]) == ("packet", 3, 1000)
    assert (engine["interfaces"], engine["file"]) == ({"e0": "socket"}, "dsrlb.toml")

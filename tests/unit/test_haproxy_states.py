"""Do servers stand in HAProxy as their standings say, each within its group?"""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

from hypothesis import given
from hypothesis import strategies as st

from dsrlb.control.proxy_table import compiled
from dsrlb.engines.haproxy.names import entries, proxy_name, server_name
from dsrlb.engines.haproxy.states import MOST_WEIGHT, ServerState, changes, states
from dsrlb.model import Backend, Service
from dsrlb.proxying import DEFAULT_GROUP, ProxyOptions
from dsrlb.standing import ALL_UP, Effective, Standing, effective, named

VIP = ip_address("198.18.1.100")
PROXY = ProxyOptions(layer=7)


def service(*weights: tuple[str, int], scheduler: str = "wrr") -> Service:
    """Return a service with servers of these groups and weights."""
    backends = tuple(
        Backend(
            ip_address(f"198.18.1.{number}"), weight, label=f"rs{number}", groups=(group or DEFAULT_GROUP,)
        )
        for number, (group, weight) in enumerate(weights, 1)
    )
    return Service(VIP, 80, "tcp", "proxy", scheduler, backends, label="web", proxy=PROXY)


def weights(one: Service, said: Effective = ALL_UP) -> dict[str, int]:
    return {server: state.weight for (_, server), state in states([one], compiled([one], said)).items()}


def test_weights_are_in_proportion_within_a_group_whatever_those_of_others_are() -> None:
    assert weights(service(("", 1), ("", 4), ("api", 1000), ("api", 500), ("one", 7))) == {
        "rs1": 64, "rs2": 256, "rs3": 256, "rs4": 128, "rs5": 256,
    }  # fmt: skip


@given(st.lists(st.tuples(st.sampled_from(["", "a", "b"]), st.integers(0, 65535)), min_size=1, max_size=6))
def test_no_server_with_a_weight_has_none_in_haproxy_and_none_has_too_much(
    given_: list[tuple[str, int]],
) -> None:
    one = service(*given_)
    for backend, weight in zip(one.backends, weights(one).values(), strict=True):
        assert 0 <= weight <= MOST_WEIGHT and (weight > 0) == (backend.weight > 0)


def test_a_server_in_two_groups_has_in_each_the_weight_that_is_its_share_there() -> None:
    one = service(("", 2), ("", 8), ("api", 4))
    both = replace(one.backends[0], groups=(DEFAULT_GROUP, "api"))
    one = replace(one, backends=(both, *one.backends[1:]))
    found = states([one], compiled([one], ALL_UP))
    assert {names: state.weight for names, state in found.items()} == {
        ("web", "rs1"): 64, ("web::api", "rs1"): 128, ("web", "rs2"): 256, ("web::api", "rs3"): 256,
    }  # fmt: skip
    assert entries(one, both) == [("web", "rs1"), ("web::api", "rs1")]


def test_a_group_whose_servers_all_fail_keeps_them_by_itself() -> None:
    one = service(("", 1), ("", 1), ("api", 1), ("api", 1))
    names = [name for name, _ in named(one)]
    standings = {name: Standing(up=number == 0) for number, name in enumerate(names)}
    found = states([one], compiled([one], effective([one], standings)))
    assert {server: state.is_in_use for (_, server), state in found.items()} == {
        "rs1": True, "rs2": False, "rs3": True, "rs4": True,
    }  # fmt: skip


def test_only_what_changes_is_said_to_haproxy_by_the_names_of_the_group() -> None:
    before = {("web::api", "rs1"): ServerState(256, True), ("web", "rs2"): ServerState(256, True)}
    now = {("web::api", "rs1"): ServerState(128, False), ("web", "rs2"): ServerState(256, True)}
    assert list(changes(before, now)) == [
        "set server web::api/rs1 weight 128",
        "set server web::api/rs1 state maint",
    ]


LABELS = st.sampled_from(["", "a", "198.18.1.100", "80", "web"])


@given(LABELS, LABELS, LABELS, LABELS)
def test_no_two_proxies_share_a_name(label: str, group: str, other_label: str, other_group: str) -> None:
    one = Service(VIP, 80, "tcp", "proxy", "rr", (), label=label)
    other = Service(ip_address("2001:db8::1"), 80, "tcp", "proxy", "rr", (), label=other_label)
    if label != other_label or not label:
        assert proxy_name(one, group or "x") != proxy_name(other, other_group or "x")
    assert (proxy_name(one, group or "x") == proxy_name(one, other_group or "x")) == (group == other_group)


def test_servers_are_called_by_their_name_or_by_where_they_are() -> None:
    four, six = ip_address("198.18.1.11"), ip_address("2001:db8::1")
    several = (
        Backend(six, label="a"),
        Backend(four),
        Backend(four, port=80),
        Backend(six),
        Backend(six, port=1),
    )
    assert [server_name(one) for one in several] == [
        "a", "198.18.1.11", "198.18.1.11:80", "2001:db8::1", "2001:db8::1_1",
    ]  # fmt: skip

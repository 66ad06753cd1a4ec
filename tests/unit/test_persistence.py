"""Does a client get the server that it had, for as long as its service says, and no longer?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import balancer
import packets as p
import pytest

from dsrlb import schedulers
from dsrlb.engines.base import counters_of
from dsrlb.engines.report import lines
from dsrlb.flows import TIMEOUT_S, FlowState, FlowTable
from dsrlb.model import Persist, Reason
from dsrlb.persistence import TemplateTable
from dsrlb.state import State, expire
from dsrlb.table import ForwardingTable, compile_table
from dsrlb.transition import carry
from dsrlb.wire.flowhash import client_network

NAMES = [scheduler.name for scheduler in schedulers.SCHEDULERS]
SYN_S = TIMEOUT_S[FlowState.SYN_RECEIVED]
FIVE_MINUTES = Persist(300)
AWAY = -1  # in place of a weight


def table(
    scheduler: str = "rr",
    persist: Persist | None = FIVE_MINUTES,
    weights: Mapping[int, int] = {},
) -> ForwardingTable:
    """Return services whose clients stay; backends of weight 1, or as given by their place."""
    services = [
        replace(one, persist=persist, backends=tuple(
            replace(backend, weight=abs(weights.get(place, 1))) for place, backend in enumerate(one.backends)
        ))
        for one in balancer.services(scheduler=scheduler)
    ]  # fmt: skip
    hops = balancer.hops(services[0].backends)
    for place, weight in weights.items():
        if weight == AWAY:
            hops[services[0].backends[place].address] = None
    return compile_table(services, hops, {p.IFINDEX: balancer.BALANCER})


def connect(
    to: ForwardingTable, state: State, sport: int, now_s: int = 0, src: str = p.CLIENT, **more: str
) -> str:
    """Open a connection; return the backend that it gets."""
    first = balancer.one(p.tcp("S", sport, src=src, **more), to, state, now_s)
    assert balancer.one(p.tcp("A", sport, src=src, **more), to, state, now_s)[3] != b""
    return balancer.backend_of(first)


@pytest.mark.parametrize("scheduler", NAMES)
def test_all_connections_of_a_client_go_to_one_server_and_clients_are_spread(scheduler: str) -> None:
    to, state = table(scheduler), State()
    owners = {}
    for sport in range(1000, 1020):
        for host in range(2, 40):
            src = f"198.18.0.{host}"
            assert owners.setdefault(src, connect(to, state, sport, src=src)) == connect(
                to, state, sport + 20, 1, src
            )
    assert len(set(owners.values())) == 3


def test_without_persistence_connections_of_a_client_are_spread() -> None:
    to, state = table(persist=None), State()
    assert len({connect(to, state, sport) for sport in range(1000, 1003)}) == 3


def test_the_time_begins_anew_with_every_connection_and_then_it_is_over() -> None:
    to, state = table(persist=Persist(300)), State()
    first = connect(to, state, 1000)
    others = {connect(to, state, 2000 + host, src=f"198.18.0.{host}") for host in range(3, 5)}
    assert first not in others
    for turn in range(1, 6):
        assert connect(to, state, 1000 + turn, 300 * turn) == first
    for _ in range(3):
        expire(state, 1801)
    assert len(state.templates) == 0
    assert connect(to, state, 1100, 1801) == "198.18.1.11"  # the next in turn: three were before
    assert connect(to, state, 1101, 1801) == "198.18.1.11"
    assert connect(to, state, 1102, 2102) == "198.18.1.12"


def test_a_client_that_never_answers_is_forgotten_when_its_connection_is() -> None:
    to, state = table(persist=Persist(3600)), State()
    balancer.one(p.tcp("S"), to, state)
    for _ in range(3):
        expire(state, SYN_S)
    assert len(state.templates) == 1
    for _ in range(3):
        expire(state, SYN_S + 1)
    assert len(state.templates) == 0
    connect(to, state, 1001, 100)
    for _ in range(3):
        expire(state, 100 + 3600)
    assert len(state.templates) == 1


@pytest.mark.parametrize(
    ("prefix", "one", "other", "together"),
    [
        (Persist(300, ipv4_prefix=24), "198.18.0.2", "198.18.0.250", True),
        (Persist(300, ipv4_prefix=24), "198.18.0.2", "198.18.1.2", False),
        (Persist(300, ipv4_prefix=32), "198.18.0.2", "198.18.0.3", False),
        (Persist(300, ipv4_prefix=0), "198.18.0.2", "203.0.113.9", True),
        (Persist(300, ipv6_prefix=64), "2001:db8::2", "2001:db8::ffff:0:9", True),
        (Persist(300, ipv6_prefix=64), "2001:db8::2", "2001:db8:0:1::2", False),
    ],
)
def test_a_network_of_clients_stays_together(prefix: Persist, one: str, other: str, together: bool) -> None:
    to, state = table(persist=prefix), State()
    vip = p.VIP6 if ":" in one else p.VIP
    first = connect(to, state, 1000, src=one, dst=vip)
    assert (connect(to, state, 1000, src=other, dst=vip) == first) is together
    assert len(state.templates) == (1 if together else 2)


def test_each_service_has_its_own_clients() -> None:
    to, state = table(), State()
    connect(to, state, 1000)
    balancer.one(p.udp(), to, state)
    assert len(state.templates) == 2


@pytest.mark.parametrize("scheduler", NAMES)
@pytest.mark.parametrize("gone", [0, AWAY], ids=["drained", "out of reach"])
def test_a_client_of_a_server_that_takes_nobody_gets_another_and_stays_there(
    scheduler: str, gone: int
) -> None:
    to, state = table(scheduler), State()
    first = connect(to, state, 1000)
    place = p.BACKENDS.index(first)
    without = carry(to, table(scheduler, weights={place: gone}), 0)
    second = connect(without, state, 1001)
    assert second != first
    under_way = balancer.one(p.tcp("A", 1000), without, state)
    if gone == AWAY:
        assert under_way[1] is Reason.BACKEND_UNRESOLVED
    else:
        assert balancer.backend_of(under_way) == first
    back = carry(without, table(scheduler), 0)
    assert connect(back, state, 1002) == second
    assert balancer.backend_of(balancer.one(p.tcp("A", 1000), back, state)) == first


def test_a_udp_client_stays_for_as_long_as_it_comes_back_in_time() -> None:
    to, state = table(persist=Persist(500)), State()

    def ask(sport: int, now_s: int) -> str:
        return balancer.backend_of(balancer.one(p.udp(sport), to, state, now_s))

    first = ask(1000, 0)
    assert {ask(1000 + turn, 400 * turn) for turn in range(1, 6)} == {first}
    assert ask(2000, 2501) != first


@pytest.mark.parametrize("scheduler", ["hash", "maglev"])
def test_after_a_restart_all_connections_of_a_client_find_the_server_again(scheduler: str) -> None:
    to = table(scheduler, Persist(300, 28))
    before = State()
    sources = [f"198.18.0.{host}" for host in range(2, 100)]
    owners = {src: connect(to, before, sport, src=src) for src in sources for sport in (1000, 1001)}
    after = State()
    for src, owner in owners.items():
        assert balancer.backend_of(balancer.one(p.tcp("A", 1001, src=src), to, after)) == owner
        assert connect(to, after, 1002, src=src) == owner


@pytest.mark.parametrize("scheduler", NAMES)
def test_clients_stay_when_flows_find_no_room(scheduler: str) -> None:
    to, state = table(scheduler), State(flows=FlowTable(max_flows=0))
    owners: dict[str, set[str]] = {}
    for flags in ("S", "A", "PA"):
        for host in range(2, 12):
            for sport in (1000, 1001):
                frame = p.tcp(flags, sport, src=f"198.18.0.{host}")
                owners.setdefault(f"198.18.0.{host}", set()).add(
                    balancer.backend_of(balancer.one(frame, to, state))
                )
    assert all(len(each) == 1 for each in owners.values())


def test_the_table_of_templates_is_bounded_and_says_when_it_is_full() -> None:
    to, state = table("maglev"), State(templates=TemplateTable(max_templates=5))
    for host in range(2, 32):
        connect(to, state, 1000, src=f"198.18.0.{host}")
        assert len(state.templates) <= 5
    assert state.templates.refused >= 25
    assert any("(persistence table full)" in line for line in lines(counters_of(state), to))


def test_switching_it_on_breaks_no_connection() -> None:
    plain, state = carry(table(), table("maglev", None), 0), State()
    owners = {sport: connect(plain, state, sport) for sport in range(1000, 1030)}
    assert len(set(owners.values())) == 3
    kept = carry(plain, table("maglev"), 1)
    assert len({connect(kept, state, sport, 1) for sport in range(2000, 2010)}) == 1
    for sport, owner in owners.items():
        assert balancer.backend_of(balancer.one(p.tcp("A", sport), kept, state, 2)) == owner


def test_the_bits_behind_the_prefix_are_zero() -> None:
    v4 = bytes(10) + b"\xff\xff" + bytes((198, 18, 7, 255))
    assert client_network(v4, (32, 128)) is v4
    assert client_network(v4, (22, 128))[12:] == bytes((198, 18, 4, 0))
    assert client_network(v4, (0, 0)) == bytes(10) + b"\xff\xff" + bytes(4)
    assert client_network(bytes(range(1, 17)), (32, 48)) == bytes(range(1, 7)) + bytes(10)

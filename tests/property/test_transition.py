"""No living connection changes its server, however often slots change hands.

The oracle is a list of connections, each with the server that its SYN was sent to.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from ipaddress import ip_address
from random import Random
from typing import Any

import balancer
import packets as p
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsrlb.config import parse_vip
from dsrlb.flows import TIMEOUT_S, FlowState, FlowTable
from dsrlb.model import Address, Backend, Hop, Persist, Reason, Service
from dsrlb.standing import effective
from dsrlb.state import State, expire
from dsrlb.table import EMPTY, CompiledService, ForwardingTable, compile_table
from dsrlb.transition import carry, window_s

LAW = settings(max_examples=80, deadline=None, derandomize=True)
SERVERS = range(5)
SILENCE_S = TIMEOUT_S[FlowState.ESTABLISHED]
UNREACHABLE, DOWN = -1, -2  # in place of a weight
NOT_FOR_NEW = (None, 0, UNREACHABLE, DOWN)


def address(server: int) -> Address:
    return ip_address(0xC612010B + server)


def mac(server: int) -> bytes:
    return bytes((2, 0, 0, 0, 0, server))


# A service: scheduler, with the prefix of clients that stay together; and the weight of each server,
# None for one that is not there.
Setting = tuple[str, tuple[int | None, ...]]


def compiled(setting: Setting) -> ForwardingTable:
    """Return the table that a setting makes, of a TCP service and a UDP service."""
    scheduler, weights = setting
    there = {number: weight for number, weight in enumerate(weights) if weight is not None}
    backends = tuple(Backend(address(number), abs(weight)) for number, weight in there.items())
    hops = {
        address(number): None if weight == UNREACHABLE else Hop(p.IFINDEX, balancer.BALANCER, mac(number))
        for number, weight in there.items()
    }
    vips = (parse_vip(f"{p.VIP}:{port}") for port in ("80", "53/udp"))
    name, _, prefix = scheduler.partition("/")
    persist = Persist(300, int(prefix)) if prefix else None
    services = [Service(*vip, "l2dsr", name, backends, persist=persist, on_all_down="drop") for vip in vips]
    down = [str(address(number)) for number, weight in there.items() if weight == DOWN]
    said = effective(services, balancer.standings(services, down))
    return compile_table(services, hops, {p.IFINDEX: balancer.BALANCER}, effective=said)


@dataclass
class World:
    """A balancer, and what the oracle knows of its connections: server and second last heard, by client."""

    setting: Setting
    state: State = field(default_factory=State)
    now_s: int = 0
    table: ForwardingTable = EMPTY
    living: dict[int, tuple[int, int]] = field(default_factory=dict)
    lost: Counter[int] = field(default_factory=Counter)  # connections, by client

    def change(self, setting: Setting) -> None:
        """Install what the control path would; the connections of a server that goes are lost."""
        self.setting = setting
        self.table = carry(self.table, compiled(setting), self.now_s)
        gone = [client for client, (server, _) in self.living.items() if setting[1][server] is None]
        for client in gone:
            del self.living[client]
            self.lost[client] += 1

    def wait(self, seconds: int) -> None:
        """Let time pass; connections that fall silent for too long are over."""
        self.now_s += seconds
        expire(self.state, self.now_s)
        expire(self.state, self.now_s)
        self.change(self.setting)
        over = [client for client, (_, seen_s) in self.living.items() if self.now_s - seen_s > SILENCE_S]
        for client in over:
            del self.living[client]

    def send(self, client: int, flags: str) -> int | Reason:
        """Return the server that a packet goes to, or why it goes nowhere."""
        sport = 40_000 + client + 250 * self.lost[client]  # who loses a connection opens another one
        frame = p.tcp(flags, sport, src=f"198.18.0.{2 + client}")
        _, reason, _, out = balancer.one(frame, self.table, self.state, self.now_s)
        return out[5] if reason is Reason.FORWARDED else reason

    def open(self, client: int) -> None:
        """Open a connection, if the client has none and there is a server for it."""
        if client not in self.living:
            server = self.send(client, "S")
            if isinstance(server, Reason):
                assert all(weight in NOT_FOR_NEW for weight in self.setting[1])
                return
            assert self.setting[1][server] not in NOT_FOR_NEW
            self.living[client] = server, self.now_s
            self.talk(client)

    def talk(self, client: int, flags: str = "A") -> None:
        """Send a packet of a living connection: it must reach its server, or wait for it."""
        if client in self.living:
            server, _ = self.living[client]
            if self.setting[1][server] == UNREACHABLE:
                assert self.send(client, flags) in (Reason.BACKEND_UNRESOLVED, Reason.NO_BACKEND)
            else:
                assert self.send(client, flags) == server
                self.living[client] = server, self.now_s

    def close(self, client: int) -> None:
        """End a connection, if its server can hear it."""
        if client in self.living and self.setting[1][self.living[client][0]] != UNREACHABLE:
            self.talk(client, "FA")
            del self.living[client]

    def service(self) -> CompiledService:
        return next(one for one in self.table.services.values() if one.name.endswith("tcp"))


CLIENTS = st.integers(0, 11)
CHOICE = Random(1)
SETTINGS = [
    tuple(CHOICE.choice([1, 1, 1, 2, 7, 0, None, UNREACHABLE, DOWN, DOWN]) for _ in SERVERS)
    for _ in range(50)
]
WEIGHTS = st.sampled_from([(1,) * 5, *SETTINGS])  # few, so that a table is compiled but once
HASHES = st.sampled_from(["maglev", "maglev", "hash"])
ANY = st.sampled_from(["maglev", "hash", "rr", "wrr", "lc", "wlc", "maglev/32", "hash/24", "rr/30", "wlc/32"])
CALM = st.one_of(
    st.tuples(st.just("open"), CLIENTS),
    st.tuples(st.just("open"), CLIENTS),
    st.tuples(st.just("talk"), CLIENTS),
    st.tuples(st.just("close"), CLIENTS),
)
TIME = st.tuples(st.just("wait"), st.sampled_from([1, 10, 100, 450, 899, 900, 901, 1000]))


def run(world: World, steps: list[tuple[str, object]]) -> None:
    for what, argument in steps:
        getattr(world, what)(argument)
    for client in list(world.living):
        world.talk(client)


def changes(schedulers: st.SearchStrategy[str], weights: Any = WEIGHTS) -> Any:
    return st.tuples(st.just("change"), st.tuples(schedulers, weights))


@LAW
@given(HASHES, st.data())
def test_no_connection_changes_its_server_while_backends_come_and_go(
    scheduler: str, data: st.DataObject
) -> None:
    world = World((scheduler, (1,) * 5))
    world.change(world.setting)
    step = st.one_of(CALM, CALM, changes(st.just(scheduler)), TIME)
    run(world, data.draw(st.lists(step, max_size=40)))


@LAW
@given(st.data())
def test_nor_when_the_scheduler_changes(data: st.DataObject) -> None:
    world = World((data.draw(ANY), (1,) * 5))
    world.change(world.setting)
    run(world, data.draw(st.lists(st.one_of(CALM, CALM, changes(ANY), TIME), max_size=40)))


# Without a record, a new connection of a slot that changes hands has to join the former backend.
SERVING = st.sampled_from([[weight and abs(weight) for weight in weights] for weights in SETTINGS]).map(
    lambda weights: tuple(weight or None for weight in weights)
)


@LAW
@given(HASHES, st.integers(0, 2), st.data())
def test_nor_when_the_flow_table_is_full(scheduler: str, room: int, data: st.DataObject) -> None:
    world = World((scheduler, (1,) * 5), State(flows=FlowTable(room)))
    world.change(world.setting)
    run(world, data.draw(st.lists(st.one_of(CALM, CALM, changes(st.just(scheduler), SERVING)), max_size=40)))
    assert len(world.state.flows) <= room


@pytest.mark.parametrize("scheduler", ["maglev", "hash"])
def test_a_stable_service_remembers_nothing(scheduler: str) -> None:
    world = World((scheduler, (1, 2, 1, 0, None)))
    world.change(world.setting)
    for client in range(100):
        world.open(client)
        world.talk(client, "PA")
    for client in range(50):
        world.close(client)
    assert len(world.state.flows) == 0
    assert sum(count.flows for count in world.state.backends.values()) == 100
    assert world.service().former is None


def test_a_transition_ends_when_every_living_flow_has_been_seen_and_leaves_only_what_disagrees() -> None:
    world = World(("maglev", (1, 1, 1, None, None)))
    world.change(world.setting)
    for client in range(120):
        world.open(client)
    world.change(("maglev", (1, 1, 1, 1, None)))
    assert world.service().former is not None
    world.wait(window_s(world.service()) - 2)
    for client in range(120):
        world.talk(client)
    moved = len(world.state.flows)
    assert 10 < moved < 60  # the slots that the fourth took: a quarter
    world.wait(2)
    assert world.service().former is None
    for client in range(120):
        world.talk(client)
        world.open(120 + client)
    assert len(world.state.flows) == moved
    for client in range(240):
        world.close(client)
    world.wait(SILENCE_S)
    assert len(world.state.flows) == 0


def test_a_server_that_is_away_for_a_moment_gets_its_connections_back_and_nothing_is_left() -> None:
    world = World(("maglev", (1, 1, 1, 1, 1)))
    world.change(world.setting)
    for client in range(60):
        world.open(client)
    world.change(("maglev", (1, UNREACHABLE, 1, 1, 1)))
    for client in range(120):
        world.talk(client)
        world.open(client)
    world.wait(5)
    world.change(("maglev", (1, 1, 1, 1, 1)))
    assert world.service().former is None
    for client in range(120):
        world.talk(client)
    world.wait(SILENCE_S)
    for client in range(120):
        world.talk(client)
    assert 0 < len(world.state.flows) < 60  # those that began elsewhere when it was away


@pytest.mark.parametrize("scheduler", ["maglev", "hash", "rr", "wlc", "rr/32"])
def test_a_server_that_is_down_keeps_its_connections_and_one_that_only_began_goes_elsewhere(
    scheduler: str,
) -> None:
    world = World((scheduler, (1, 1, 1, None, None)))
    world.change(world.setting)
    for client in range(60):
        world.open(client)
    began = {client: world.send(client, "S") for client in range(60, 120)}
    assert 1 in began.values()
    world.change((scheduler, (1, DOWN, 1, None, None)))
    for client, server in began.items():
        again = world.send(client, "S")
        assert again in (0, 2)
        assert again == server or server == 1
        assert world.send(client, "A") == again
    for client in range(60):
        world.talk(client)
    world.change((scheduler, (1, 1, 1, None, None)))
    for client in range(60):
        world.talk(client)


def test_a_drained_server_keeps_its_connections_and_gets_no_new_ones() -> None:
    world = World(("maglev", (1, 1, 1, None, None)))
    world.change(world.setting)
    for client in range(60):
        world.open(client)
    world.change(("maglev", (1, 0, 1, None, None)))
    for client in range(200):
        world.open(client)
        world.talk(client)
    held = [client for client, (server, _) in world.living.items() if server == 1]
    assert held and max(held) < 60
    world.wait(SILENCE_S)
    for client in range(200):
        world.talk(client)
    world.wait(SILENCE_S)
    assert world.service().former is None
    for client in held:
        world.talk(client)


def test_a_server_that_is_removed_loses_its_connections_and_no_other_does() -> None:
    world = World(("maglev", (1, 1, 1, 1, 1)))
    world.change(world.setting)
    for client in range(100):
        world.open(client)
    lost = [client for client, (server, _) in world.living.items() if server == 2]
    world.change(("maglev", (1, 1, None, 1, 1)))
    assert len(world.living) == 100 - len(lost)
    for client in range(100):
        world.talk(client)
    for client in lost:
        assert world.send(client, "A") in (0, 1, 3, 4)


@pytest.mark.parametrize("scheduler", ["maglev", "hash"])
def test_after_a_restart_the_same_backends_get_the_same_connections_also_those_that_come_late(
    scheduler: str,
) -> None:
    before = World((scheduler, (1, 1, 1, 1, 1)))
    before.change(before.setting)
    for client in range(100):
        before.open(client)
    after = World((scheduler, (1, UNREACHABLE, 1, 1, UNREACHABLE)), living=dict(before.living))
    after.change(after.setting)
    for client in range(150):
        after.talk(client)
        after.open(client)
    after.change((scheduler, (1, 1, 1, 1, 1)))
    for client in range(150):
        after.talk(client)


def test_an_error_about_a_packet_finds_the_server_of_its_connection_in_a_transition() -> None:
    world = World(("maglev", (1, 1, 1, None, None)))
    world.change(world.setting)
    for client in range(40):
        world.open(client)
    world.change(("maglev", (1, 1, 1, 3, 1)))
    for client, (server, _) in world.living.items():
        about = p.error_about(p.tcp("A", 40_000 + client, src=f"198.18.0.{2 + client}"))
        assert balancer.one(about, world.table, world.state)[3][5] == server
    assert len(world.state.flows) == 0


# -- UDP: a datagram does not say whether it is the first -------------------------------------------


def asked(world: World, client: int) -> int:
    frame = p.udp(40_000 + client, src=f"198.18.0.{2 + client}")
    return balancer.one(frame, world.table, world.state, world.now_s)[3][5]


def test_udp_stays_where_it_was_until_it_has_been_silent_and_new_flows_of_a_transition_join_it() -> None:
    world = World(("maglev", (1, 1, 1, None, None)))
    world.change(world.setting)
    owners = {client: asked(world, client) for client in range(80)}
    assert len(world.state.flows) == 0
    world.change(("maglev", (0, 1, 1, 5, None)))
    assert {client: asked(world, client) for client in range(80)} == owners
    late = {client: asked(world, client) for client in range(80, 120)}
    assert 3 not in late.values()
    for _ in range(4):
        world.wait(100)
        assert {client: asked(world, client) for client in range(80)} == owners
    world.wait(TIMEOUT_S[FlowState.UDP] + 1)
    fresh = [asked(world, client) for client in range(120)]
    assert 0 not in fresh
    assert fresh.count(3) > 40


@pytest.mark.parametrize("away", [UNREACHABLE, DOWN])
def test_udp_has_no_connection_to_lose_so_it_does_not_wait_for_its_server(away: int) -> None:
    world = World(("maglev", (1, 1, 1, None, None)))
    world.change(world.setting)
    owners = {client: asked(world, client) for client in range(40)}
    world.change(("maglev", (away, 1, 1, None, None)))
    moved = {client: asked(world, client) for client in range(40)}
    assert 0 not in moved.values()
    assert all(moved[client] == owner for client, owner in owners.items() if owner != 0)
    world.change(("maglev", (1, 1, 1, None, None)))
    assert {client: asked(world, client) for client in range(40)} == moved

"""Does every translated flow have a name of its own, and is one refused for which there is none?"""

from __future__ import annotations

from ipaddress import ip_address

import balancer
import packets as p
import pytest

from dsrlb.budget import PER_NETWORK
from dsrlb.flows import TIMEOUT_S, FlowState, FlowTable
from dsrlb.model import Action, ModeOptions, Reason, wire_address
from dsrlb.ports import COUNT
from dsrlb.state import State, Verdict, expire
from dsrlb.table import EMPTY, ForwardingTable, apply, diff

BOTH = tuple(f"{one},mac={mac}" for one, mac in zip(p.SERVERS[:2], p.SERVER_MACS, strict=False))
SNAT = ModeOptions(snat=True)
SYN_OVER_S = TIMEOUT_S[FlowState.SYN_RECEIVED] + 1


def table(
    *backends: str, options: ModeOptions = balancer.DEFAULTS, vip: str = f"{p.VIP}:80"
) -> ForwardingTable:
    return balancer.table([vip], backends or BOTH[:1], "rr", mode="inline", options=options)


def answer(sent: Verdict, flags: str = "SA") -> p.Packet:
    """Return the frame by which a server answers a TCP frame that it was sent."""
    asked = p.Ether(sent[3])
    ip, tcp = asked[p.IP], asked[p.TCP]
    back = p.IP(src=ip.dst, dst=ip.src) / p.TCP(sport=tcp.dport, dport=tcp.sport, flags=flags, ack=1)
    return p.ether(asked.dst, p.INNER_MAC) / back


def replied(sent: Verdict, to: ForwardingTable, state: State, now_s: int = 0) -> Verdict:
    return balancer.one(answer(sent), to, state, now_s, p.OTHER_IFINDEX)


def test_flows_of_one_server_and_source_have_a_port_each_and_every_answer_finds_its_client() -> None:
    state, here = State(), table(options=SNAT)
    sent = {sport: balancer.one(p.tcp(sport=sport), here, state) for sport in range(40_000, 40_500)}
    assert len({p.Ether(frame)[p.TCP].sport for _, _, _, frame in sent.values()}) == 500
    for sport, verdict in sent.items():
        back = p.Ether(replied(verdict, here, state)[3])
        assert (back[p.IP].src, back[p.IP].dst) == (p.VIP, p.CLIENT)
        assert (back[p.TCP].sport, back[p.TCP].dport) == (80, sport)


def test_the_ports_of_a_server_run_out_and_come_back() -> None:
    state, here = State(), table(options=SNAT)
    first = balancer.one(p.tcp(sport=1), here, state)
    name = next(iter(state.flows.replies))
    for _ in range(COUNT - 1):
        assert state.flows.ports.take(name, 0)
    action, reason, ifindex, frame = balancer.one(p.tcp(sport=2), here, state)
    assert (action, reason, ifindex) == (Action.TX, Reason.SNAT_EXHAUSTED, p.IFINDEX)
    refusal = p.Ether(frame)
    assert (refusal[p.IP].src, refusal[p.TCP].dport, str(refusal[p.TCP].flags)) == (p.VIP, 2, "RA")
    assert bytes(refusal) == p.rebuilt(refusal)
    assert balancer.one(p.tcp("A", sport=3), here, state)[0] is Action.DROP  # opens nothing: not told
    assert replied(first, here, state)[1] is Reason.REPLY_FORWARDED
    for _ in range(2):
        expire(state, SYN_OVER_S)
    again = balancer.one(p.tcp(sport=2), here, state, SYN_OVER_S)
    assert again[1] is Reason.FORWARDED
    assert p.Ether(again[3])[p.TCP].sport == p.Ether(first[3])[p.TCP].sport


def test_a_full_flow_table_refuses_new_flows_and_keeps_the_old_ones() -> None:
    state, here = State(flows=FlowTable(1)), table()
    sent = balancer.one(p.tcp(sport=1), here, state)
    refused = [balancer.one(p.tcp(sport=sport), here, state) for sport in range(2, 3 + PER_NETWORK)]
    assert {reason for _, reason, _, _ in refused} == {Reason.REFUSED}
    told = [action is Action.TX for action, _, _, _ in refused]
    assert told == [True] * PER_NETWORK + [False]  # but not more often than this in a second
    assert balancer.one(p.tcp("A", sport=1), here, state)[1] is Reason.FORWARDED
    assert replied(sent, here, state)[1] is Reason.REPLY_FORWARDED


def test_an_answer_that_comes_too_late_is_dropped() -> None:
    state, here = State(), table()
    sent = balancer.one(p.tcp(), here, state)
    assert replied(sent, here, state, SYN_OVER_S - 1)[1] is Reason.REPLY_FORWARDED
    assert replied(sent, here, state, 2 * SYN_OVER_S)[1] is Reason.REPLY_UNMATCHED  # over, not swept yet
    assert replied(sent, here, State())[1] is Reason.REPLY_UNMATCHED


def test_an_answer_does_not_leave_by_an_interface_that_is_no_longer_served() -> None:
    state, here = State(), table()
    sent = balancer.one(p.tcp(), here, state)
    inner_only = ForwardingTable(
        here.services, here.vips, {p.OTHER_IFINDEX: balancer.INNER}, servers=here.servers
    )
    assert replied(sent, inner_only, state)[0] is Action.DROP


def test_a_flow_whose_server_is_taken_away_gets_another_name_with_its_new_server() -> None:
    state = State()
    before = balancer.one(p.tcp(), table(*BOTH[:1]), state)
    after = balancer.one(p.tcp("A"), table(*BOTH[1:]), state)
    assert [p.Ether(one[3])[p.IP].dst for one in (before, after)] == list(p.SERVERS[:2])
    assert replied(after, table(*BOTH), state)[1] is Reason.REPLY_FORWARDED
    assert replied(before, table(*BOTH), state)[1] is Reason.REPLY_UNMATCHED
    assert len(state.flows.replies) == 1


def test_the_name_of_a_flow_stays_when_the_options_change() -> None:
    state = State()
    first = balancer.one(p.tcp(), table(options=SNAT), state)
    second = balancer.one(p.tcp("A"), table(), state)
    assert p.Ether(second[3])[p.IP].src == p.Ether(first[3])[p.IP].src == p.VIP


def test_nobody_answers_for_a_server_that_is_not_behind_a_mode_that_sees_replies() -> None:
    here = balancer.table([f"{p.VIP}:80"], BOTH, "rr", mode="l2dsr")
    assert (here.servers, here.answering) == (frozenset(), {})


@pytest.mark.parametrize("asked", [None, "198.18.1.10"])
def test_the_table_owns_the_source_that_stands_in_for_clients(asked: str | None) -> None:
    options = ModeOptions(snat=True, source=ip_address(asked) if asked else None)
    here = table(options=options)
    source = wire_address(ip_address(asked or p.VIP))
    assert here.vips == {wire_address(ip_address(p.VIP)), source}
    assert next(iter(here.services.values())).source == source
    server = wire_address(ip_address(p.SERVERS[0]))
    assert here.servers == {server}
    assert here.answering == {server + b"\0\x50\x06\0": False}
    assert table(f"{p.SERVERS[0]}:8080").answering == {server + b"\x1f\x90\x06\0": True}
    assert apply(diff(EMPTY, here), EMPTY) == here


def test_a_source_of_the_other_family_is_not_for_this_vip() -> None:
    options = ModeOptions(snat=True, source=ip_address("2001:db8:1::10"))
    assert table(options=options).vips == {wire_address(ip_address(p.VIP))}

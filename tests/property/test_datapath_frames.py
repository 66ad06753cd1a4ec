"""Is any frame counted once, and sent only where it is for a VIP, with nothing but its MACs changed?"""

from __future__ import annotations

from ipaddress import ip_address

import balancer
import packets as p
from datapath_laws import BURSTS, FRAMES, LAW, MAC, NAMES, TABLES, VALID
from hypothesis import given
from hypothesis import strategies as st

from dsrlb.datapath import process
from dsrlb.model import Action, Reason, wire_address
from dsrlb.state import State, expire
from dsrlb.table import compile_table

VIPS = {ip_address(p.VIP).packed, ip_address(p.VIP6).packed}
ANSWERS = (Reason.ARP_REPLY, Reason.ND_REPLY, Reason.ECHO_REPLY)


@LAW
@given(BURSTS, st.sampled_from(NAMES), st.lists(st.integers(0, 40), min_size=12, max_size=12))
def test_no_frame_raises_and_each_is_counted_under_exactly_one_reason(
    burst: list[bytes], scheduler: str, gaps_s: list[int]
) -> None:
    state, now_s = State(), 0
    for count, (frame, gap_s) in enumerate(zip(burst, gaps_s, strict=False), 1):
        now_s += gap_s
        expire(state, now_s)
        _, reason, _, _ = process(frame, p.IFINDEX, TABLES[scheduler], state, now_s)
        assert sum(state.reasons) == count
        assert state.reasons[reason] > 0
        assert min(state.reasons) >= 0
    expire(state, now_s + 1000)
    assert sum(state.reasons) == len(burst)
    assert state.reasons[Reason.FRAGMENT_HELD] == state.fragments.held_bytes == 0


@LAW
@given(BURSTS, st.sampled_from(NAMES))
def test_what_is_forwarded_came_to_our_mac_for_a_vip_and_only_its_first_twelve_bytes_changed(
    burst: list[bytes], scheduler: str
) -> None:
    state, unseen = State(), list(burst)
    for frame in burst:
        verdict = process(frame, p.IFINDEX, TABLES[scheduler], state, 0)
        sent = [
            *state.released,
            *([verdict] if verdict[0] >= Action.TX and verdict[1] not in ANSWERS else []),
        ]
        state.released.clear()
        for action, _, ifindex, out in sent:
            came = next(one for one in unseen if one[12:] == out[12:] and one[:6] == MAC)
            unseen.remove(came)
            assert (action, ifindex, out[6:12]) == (Action.TX, p.IFINDEX, MAC)
            assert out[:6] in {p.mac_bytes(mac) for mac in p.BACKEND_MACS}
            assert any(vip in out[14:62] for vip in VIPS)


@LAW
@given(FRAMES)
def test_a_frame_that_is_not_sent_has_no_bytes_to_send(frame: bytes) -> None:
    action, reason, _, out = process(frame, p.IFINDEX, TABLES["maglev"], State(), 0)
    assert (action >= Action.TX) == bool(out) == (reason < Reason.NOT_FOR_US)


@LAW
@given(
    st.binary(min_size=6, max_size=6),
    st.sampled_from([p.VIP, p.VIP6, p.OTHER_VIP, p.BACKENDS[0], p.BACKENDS6[0]]),
)
def test_nothing_is_forwarded_for_another_mac_or_another_address(mac: bytes, dst: str) -> None:
    raw = mac + bytes(p.tcp(dst=dst))[6:]
    action, reason, _, _ = process(raw, p.IFINDEX, TABLES["rr"], State(), 0)
    ours = mac == MAC and dst in (p.VIP, p.VIP6)
    assert (action is Action.TX) is ours
    assert ours or reason in (Reason.NOT_FOR_US, Reason.NOT_VIP)


ELSEWHERE = balancer.table([f"{p.OTHER_VIP}:80"], scheduler="rr")


@LAW
@given(FRAMES.filter(lambda frame: len(frame) >= 14 and ip_address(p.OTHER_VIP).packed not in frame))
def test_what_names_no_vip_is_left_to_the_host_however_broken(frame: bytes) -> None:
    assert process(frame, p.IFINDEX, ELSEWHERE, State(), 0)[0] is Action.PASS


def test_an_interface_that_is_not_served_forwards_and_answers_nothing() -> None:
    for frame in VALID:
        action, _, _, out = process(frame, p.OTHER_IFINDEX, TABLES["rr"], State(), 0)
        assert action not in (Action.TX, Action.REDIRECT), frame.hex()
        assert not out


def test_a_backend_behind_another_interface_is_reached_by_that_one() -> None:
    services = balancer.services(scheduler="rr")
    hops = balancer.hops(services[0].backends, ifindex=p.OTHER_IFINDEX)
    table = compile_table(services, hops, {p.IFINDEX: MAC})
    action, reason, ifindex, _ = balancer.one(p.tcp(), table)
    assert (action, reason, ifindex) == (Action.REDIRECT, Reason.FORWARDED, p.OTHER_IFINDEX)


def test_octets_and_packets_are_counted_for_the_backend_that_was_sent_them() -> None:
    state = State()
    frames = [p.tcp("S"), p.tcp("PA", load=bytes(100)), *p.pieces(p.udp(load=bytes(100)), 56)]
    out = balancer.sent(balancer.feed(frames, TABLES["rr"], state))
    total = sum(count.octets for count in state.backends.values())
    assert total == sum(map(len, out)) == sum(len(bytes(frame)) for frame in frames)
    keys = {backend for _, backend in state.backends}
    assert keys <= {wire_address(ip_address(address)) for address in p.BACKENDS}

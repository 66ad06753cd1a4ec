"""Frames that are left to the hardware to finish: translated, are they right when it has finished them?"""

from __future__ import annotations

import balancer
import packets as p
import pytest
from reassembly import reassembled_ipv4
from unfinished import partial, vnet

from dsrlb.datapath import process
from dsrlb.frameio.segments import finished
from dsrlb.frameio.vnet import GSO_TCPV4, NO_VNET, VNET, moved, offload_of
from dsrlb.model import Reason
from dsrlb.state import State
from dsrlb.table import ForwardingTable
from dsrlb.wire.offload import Offload

Sent = tuple[bytes, bytes]  # vnet header, frame


def table(mtu_bytes: int = 1500) -> ForwardingTable:
    backend = f"{p.SERVERS[0]}:8080,mac={p.SERVER_MACS[0]}"
    return balancer.table(
        [f"{p.VIP}:80", f"{p.VIP}:53/udp"], [backend], "rr", mode="inline", mtu_bytes=mtu_bytes
    )


def handled(
    frame: bytes, header: bytes, to: ForwardingTable, state: State, ifindex: int = p.IFINDEX
) -> tuple[Reason, Sent]:
    """Return what the engine does with a frame: why, and the first frame that it sends."""
    _, reason, _, out = process(frame, ifindex, to, state, 0, offload_of(header))
    return reason, (moved(header, frame, out), out)


@pytest.mark.parametrize("tags", [(), (5,), (5, 6)])
@pytest.mark.parametrize("make", [p.tcp, p.udp])
def test_an_unfinished_checksum_is_right_in_the_end_both_ways_whatever_the_tags(make, tags) -> None:  # type: ignore[no-untyped-def]
    state, here = State(), table()
    asked = make(tags=tags, load=b"odd")
    reason, (header, out) = handled(partial(asked), vnet(asked), here, state)
    assert reason is Reason.FORWARDED
    (sent,) = map(p.Ether, finished(header, out))
    assert bytes(sent) == p.rebuilt(sent) != out  # it was not finished before
    assert (sent.type, sent[p.IP].dst) == (0x0800, p.SERVERS[0])

    answer = p.from_server() / p.answer_of(sent, b"answer")
    reason, (header, out) = handled(partial(answer), vnet(answer), here, state, p.OTHER_IFINDEX)
    assert reason is Reason.REPLY_FORWARDED
    (back,) = map(p.Ether, finished(header, out))
    assert bytes(back) == p.rebuilt(back)
    link_bytes = 14 + 4 * len(tags)
    assert bytes(back)[12:link_bytes] == bytes(asked)[12:link_bytes]  # the tags
    assert (back[p.IP].src, back[p.IP].dst) == (p.VIP, p.CLIENT)


def test_large_segments_pass_whole_if_those_cut_from_them_fit() -> None:
    state, asked = State(), p.tcp("A", load=bytes(5000))
    header = vnet(asked, GSO_TCPV4, 1440)
    reason, (after, out) = handled(partial(asked), header, table(1480), state)
    assert (reason, after) == (Reason.FORWARDED, header)
    cut = finished(after, out)
    assert [len(one) - 14 for one in cut] == [1480] * 3 + [5000 - 3 * 1440 + 40]
    assert all(bytes(one) == p.rebuilt(one) for one in map(p.Ether, cut))
    assert handled(partial(asked), header, table(1479), state)[0] is Reason.TOO_BIG_ANSWERED


@pytest.mark.parametrize("offload", [Offload(False, 1440), Offload(True, 1440), Offload(True, 0)])
@pytest.mark.parametrize("mtu_bytes", [1500, 68])
def test_a_piece_without_a_header_is_sent_as_it_is_whatever_its_offload_says(
    offload: Offload, mtu_bytes: int
) -> None:
    state, here, (first, last) = State(), table(mtu_bytes), p.pieces(p.tcp(load=bytes(28)), 40)
    process(bytes(first), p.IFINDEX, here, state, 0)
    _, reason, _, out = process(bytes(last), p.IFINDEX, here, state, 0, offload)
    assert (len(bytes(last)), reason) == (14 + 20 + 8, Reason.FRAGMENT_FORWARDED)
    sent = p.Ether(out)
    assert bytes(sent) == p.rebuilt(sent)
    assert (sent[p.IP].dst, bytes(sent[p.IP].payload)) == (p.SERVERS[0], bytes(last)[34:])


def test_an_unfinished_piece_that_has_to_be_cut_is_cut_as_it_is() -> None:
    """The place of a checksum in the first piece holds data in the others."""
    state, here = State(), table(68)
    first, last = p.pieces(p.tcp(load=bytes(range(140))), 80)
    process(bytes(first), p.IFINDEX, here, state, 0)
    state.released.clear()
    _, _, _, out = process(bytes(last), p.IFINDEX, here, state, 0, Offload(True, 0))
    sent = [out, *(piece for _, _, _, piece in state.released)]
    assert len(sent) == 2
    assert b"".join(piece[34:] for piece in sent) == bytes(last)[34:]


def test_an_unfinished_packet_that_has_to_be_cut_is_finished_first() -> None:
    state, asked = State(), p.udp(load=bytes(range(256)) * 4)
    header, frame = vnet(asked), partial(asked)
    reason, (after, out) = handled(frame, header, table(600), state)
    assert (reason, after) == (Reason.FORWARDED, NO_VNET)
    pieces = [out, *(piece for _, _, _, piece in state.released)]
    whole = reassembled_ipv4([piece[14:] for piece in pieces])
    packet = p.IP(whole)
    assert (packet.dst, packet[p.UDP].dport) == (p.SERVERS[0], 8080)
    assert whole == p.rebuilt(packet)


def test_a_vnet_header_without_a_checksum_to_finish_moves_its_other_fields_only() -> None:
    header = VNET.pack(0, GSO_TCPV4, 58, 1440, 0, 0)
    tagged, bare = bytes(p.tcp("A", tags=(5,))), bytes(p.tcp("A"))
    assert moved(header, tagged, bare) == VNET.pack(0, GSO_TCPV4, 54, 1440, 0, 0)
    assert moved(header, bare, tagged) == VNET.pack(0, GSO_TCPV4, 62, 1440, 0, 0)
    assert moved(header, bare, bare) == header

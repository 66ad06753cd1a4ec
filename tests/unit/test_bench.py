"""The benchmark's arithmetic and traffic; its figures are nobody's test."""

from __future__ import annotations

import json
import os

import pytest
from scapy.layers.inet import IP, TCP
from scapy.layers.l2 import Ether

from dsrlb.bench.ground import BACKENDS, LB_MAC, PORT, VIP
from dsrlb.bench.packet import Turn, as_json, cpu_seconds, ratios, report
from dsrlb.bench.traffic import FLOWS, faults, frames
from dsrlb.datapath import process
from dsrlb.model import Backend, Hop, Reason, Service
from dsrlb.state import State
from dsrlb.table import compile_table


def turn(per_cpu_s: float) -> Turn:
    return Turn(int(per_cpu_s), seconds=2.0, cpu_s=1.0, offered_per_s=9e9, claimed=7, counted=7)


def turns(scapy: list[float], raw: list[float], dsrlb: list[float]) -> dict[str, list[Turn]]:
    given = {"scapy": scapy, "raw": raw, "dsrlb": dsrlb}
    return {name: [turn(rate) for rate in rates] for name, rates in given.items()}


def forwarded(sent: list[bytes]) -> list[bytes]:
    macs = list(BACKENDS.values())
    return [macs[i % 3] + LB_MAC + frame[12:] for i, frame in enumerate(sent)]


def test_a_ratio_is_the_median_over_rounds_of_the_ratio_within_a_round() -> None:
    scapy, raw = ratios(turns([1000, 2000, 4000], [50_000, 100_000, 200_000], [50_000, 100_000, 100_000]))
    assert (scapy.median, scapy.lowest, scapy.highest, scapy.is_met) == (50, 25, 50, True)
    assert (raw.median, raw.lowest, raw.highest, raw.is_met) == (1, 0.5, 1, True)


@pytest.mark.parametrize(
    ("dsrlb", "met"), [(89_999, [False, False]), (90_000, [False, True]), (4e6, [True, True])]
)
def test_a_bar_is_met_when_the_ratio_reaches_it(dsrlb: float, met: list[bool]) -> None:
    assert [one.is_met for one in ratios(turns([100_000], [100_000], [dsrlb]))] == met


def test_the_report_names_every_contender_and_says_which_bar_is_not_met() -> None:
    lines = list(report(turns([1000], [100_000], [50_000])))
    assert [line.split()[0] for line in lines[1:4]] == ["scapy", "raw", "dsrlb"]
    assert lines[-2].endswith("at least 40: met")
    assert lines[-1].endswith("at least 0.9: NOT met")


def test_the_json_holds_every_turn_and_the_verdicts() -> None:
    told = json.loads(as_json(turns([1000, 1100], [100_000, 100_000], [50_000, 50_000])))
    assert [turn["frames"] for turn in told["turns"]["scapy"]] == [1000, 1100]
    assert [one["baseline"] for one in told["ratios"] if one["met"]] == ["scapy"]


def test_the_share_of_the_core_is_cpu_time_over_time() -> None:
    assert turn(1).core_share == 0.5


def test_the_cpu_time_of_this_process_only_grows() -> None:
    before = cpu_seconds(os.getpid())
    assert sum(range(100_000)) and 0 < before < cpu_seconds(os.getpid())


def test_the_frames_are_sound_small_and_each_of_a_flow_of_its_own() -> None:
    made = frames()
    parsed = [Ether(frame) for frame in made]
    rebuilt = parsed[0].copy()
    del rebuilt[IP].chksum, rebuilt[TCP].chksum
    assert bytes(rebuilt) == made[0]
    assert len({(packet[IP].src, packet[TCP].sport) for packet in parsed}) == FLOWS
    assert {(packet[IP].dst, packet[TCP].dport, str(packet[TCP].flags)) for packet in parsed} == {
        (str(VIP), PORT, "A")
    }
    assert {len(frame) for frame in made} == {60}


def test_the_data_path_forwards_every_frame_of_the_traffic() -> None:
    service = Service(VIP, PORT, "tcp", "l2dsr", "maglev", tuple(Backend(address) for address in BACKENDS))
    table = compile_table([service], {a: Hop(2, LB_MAC, mac) for a, mac in BACKENDS.items()}, {2: LB_MAC})
    state, sent = State(), frames()
    returned = [process(frame, 2, table, state, 0)[3] for frame in sent]
    assert state.reasons[Reason.FORWARDED] == FLOWS
    assert faults(sent, returned) == ""


def test_what_comes_back_right_in_any_order_has_no_fault() -> None:
    sent = frames()
    assert faults(sent, forwarded(sent)[::-1]) == ""


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda back: back[1:], "1024 frames were sent and 1023 came back"),
        (lambda back: [*back, back[0]], "1025 came back"),
        (lambda back: [back[0][:-1] + b"x", *back[1:]], "lost or changed"),
        (lambda back: [bytes(6) + back[0][6:], *back[1:]], "00:00:00:00:00:00, which is no server"),
        (lambda back: [back[0][:6] + bytes(6) + back[0][12:], *back[1:]], "source is not the forwarder's"),
        (lambda back: [back[0][:6] + frame[6:] for frame in back], "not every server"),
        (lambda back: [], "0 came back"),
    ],
)
def test_a_forwarder_that_does_wrong_is_told_how(spoil, words: str) -> None:  # type: ignore[no-untyped-def]
    sent = frames()
    assert words in faults(sent, spoil(forwarded(sent)))

"""Does dsrlb explain tell what would come of a packet, without a balancer and of a running one?"""

from __future__ import annotations

import json
import re
from pathlib import Path
from random import Random
from typing import Any

import packets as p
import pytest
from click.testing import CliRunner
from fuzzing import mutate, seeds

from dsrlb.cli import cli
from dsrlb.cli.dissection import side_by_side
from dsrlb.foresight.meaning import MEANING
from dsrlb.frameio.pcap import write_pcap
from dsrlb.model import Reason

ROOT = Path(__file__).parents[2]
FILE = """\
[[service]]
name = "web"
vip = "198.18.1.100:80"
mode = "l2dsr"
scheduler = "{scheduler}"
{more}
[[service.backend]]
name = "rs1"
address = "198.18.1.11"

[[service.backend]]
address = "198.18.1.12"
weight = {weight}

[[service]]
vip = "198.18.1.101:443"
mode = "l3dsr"
encap = "gue"

[[service.backend]]
address = "198.18.21.2"
"""
CLIENT, PLACE = f"{p.CLIENT}:4000", f"{p.VIP}:80"


@pytest.fixture
def explain(tmp_path: Path) -> Any:
    def told(*words: str, scheduler: str = "maglev", more: str = "", weight: int = 1) -> Any:
        file = tmp_path / "dsrlb.toml"
        file.write_text(FILE.format(scheduler=scheduler, more=more, weight=weight))
        done = CliRunner().invoke(cli, ["explain", "--config", str(file), *words])
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return json.loads(done.stdout) if "--json" in words else done.stdout

    return told


def test_a_hashed_flow_needs_no_record_and_its_slot_is_named(explain: Any) -> None:
    row = explain(CLIENT, PLACE, "--json")
    assert (row["verdict"], row["reason"], row["why"]) == ("tx", "forwarded", "slot")
    assert row["record"] == {"before": None, "after": None}
    assert row["slot"]["backend"] == row["backend"]
    assert f"slot {row['slot']['number']} of 65537, by the hash of the flow" in row["because"][0]


@pytest.mark.parametrize(("scheduler", "why"), [("wrr", "turn"), ("wlc", "least")])
def test_where_the_pick_cannot_be_told_again_the_flow_gets_a_record(
    explain: Any, scheduler: str, why: str
) -> None:
    row = explain(CLIENT, PLACE, "--json", scheduler=scheduler)
    assert row["why"] == why
    assert row["record"]["after"]["state"] == "syn_received"
    assert row["record"]["after"]["left_s"] == 60


def test_a_backend_of_weight_0_is_shown_as_drained_and_has_no_share(explain: Any) -> None:
    row = explain(CLIENT, PLACE, "--json", weight=0)
    assert row["backend"] == "198.18.1.11"
    drained = row["backends"][1]
    assert (drained["standing"], drained["slots"], drained["share_percent"]) == (["drained"], 0, 0.0)


def test_what_stops_is_told_with_its_reason(explain: Any) -> None:
    row = explain(CLIENT, f"{p.VIP}:81", "--json")
    assert (row["verdict"], row["reason"], row["out"]) == ("drop", "no_service", None)
    assert "no service for this port" in row["because"][-1]


def test_a_packet_too_long_for_the_tunnel_is_told_what_fits(explain: Any) -> None:
    words = (CLIENT, f"{p.OTHER_VIP}:443", "--flags", "A", "--payload", "1460", "--json")
    row = explain(*words)
    assert row["reason"] == "too_big_answered"
    assert (row["hop"]["mtu_bytes"], row["hop"]["fits_bytes"]) == (1500, 1468)
    assert any(line["field"] == "nexthopmtu" and line["leaves"] == "1468" for line in row["dissected"])


def test_the_packet_inside_a_gue_tunnel_stands_beside_the_one_that_came(explain: Any) -> None:
    row = explain(CLIENT, f"{p.OTHER_VIP}:443", "--json")
    inner = [line for line in row["dissected"] if line["layer"] == "TCP"]
    assert inner
    assert all(line["came"] == line["leaves"] for line in inner)
    assert any(line["layer"] == "GUE" and line["came"] is None for line in row["dissected"])


def test_a_person_reads_why_and_what_changes(explain: Any) -> None:
    said = explain(CLIENT, PLACE, scheduler="wrr")
    assert "because   it is the turn of 198.18.1.11 (rs1)" in said
    assert re.search(r"Ethernet +dst +02:00:00:00:00:01 +\* +02:00:00:00:00:03", said)


def test_a_captured_frame_is_explained_as_it_is(explain: Any, tmp_path: Path) -> None:
    capture = tmp_path / "it.pcap"
    write_pcap(capture, [(1.0, bytes(p.tcp("S"))), (2.0, bytes(p.tcp("A", dport=80, sport=7)))])
    row = explain("--pcap", str(capture), "--frame", "2", "--json")
    assert row["frame"] == bytes(p.tcp("A", dport=80, sport=7)).hex()
    assert row["flow"]["sport"] == 7


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["x", PLACE], "client 'x' is not ADDR:PORT"),
        (["198.18.0.2:99999", PLACE], "port '99999' is not 1 to 65535"),
        ([CLIENT, f"{p.VIP}:*"], "name the one port"),
        ([CLIENT, f"[{p.VIP6}]:80"], "two IP versions"),
        ([CLIENT, PLACE, "--flags", "Z"], "flags 'Z'"),
        ([CLIENT, PLACE, "--payload", "9001"], "not 0 to 9000"),
        ([CLIENT], "name a CLIENT:PORT and a VIP:PORT"),
        ([CLIENT, PLACE, "--to-us"], "--to-us is about a captured frame"),
        ([CLIENT, PLACE, "--pcap", "x"], "--pcap and a CLIENT together"),
        ([CLIENT, PLACE, "--interface", "e0"], "--config and --interface together"),
    ],
)
def test_what_cannot_be_asked_is_one_sentence(explain: Any, words: list[str], said: str) -> None:
    with pytest.raises(Exception, match=re.escape(said)) as told:
        explain(*words)
    assert len(str(told.value).splitlines()) == 1


def test_a_capture_that_is_cut_short_is_one_sentence_behind_its_last_whole_frame(
    explain: Any, tmp_path: Path
) -> None:
    capture = tmp_path / "cut.pcap"
    write_pcap(capture, [(1.0, bytes(p.tcp("S")))] * 2)
    capture.write_bytes(capture.read_bytes()[:-7])
    assert explain("--pcap", str(capture), "--json")["reason"] == "forwarded"
    with pytest.raises(Exception, match="ends in the middle of a frame") as told:
        explain("--pcap", str(capture), "--frame", "2")
    assert len(str(told.value).splitlines()) == 1


def test_a_frame_that_the_capture_has_only_the_beginning_of_is_not_taken_for_a_broken_packet(
    explain: Any, tmp_path: Path
) -> None:
    write_pcap(tmp_path / "cut.pcap", [(1.0, bytes(p.tcp("S"))[:40])])
    row = explain("--pcap", str(tmp_path / "cut.pcap"), "--json")
    assert row["reason"] == "truncated"
    assert "the capture has 40 bytes of this frame" in row["notes"][-1]


def test_a_frame_that_is_not_there_is_said(explain: Any, tmp_path: Path) -> None:
    write_pcap(tmp_path / "one.pcap", [(1.0, bytes(p.tcp("S")))])
    with pytest.raises(Exception, match="has 1 frame, and no frame 3"):
        explain("--pcap", str(tmp_path / "one.pcap"), "--frame", "3")


def test_every_reason_means_what_the_docs_say() -> None:
    rows = re.findall(r"^\| `(\w+)` \| \w+ \| (.*?) \| .* \|$", (ROOT / "docs/REASONS.md").read_text(), re.M)
    plain = {word: re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", said).replace("`", "") for word, said in rows}
    assert {reason.word: said for reason, said in MEANING.items()} == plain
    assert set(MEANING) == set(Reason)


def test_any_frames_can_be_put_side_by_side() -> None:
    rng, whole = Random(5), seeds()
    for frame in (b"", b"\x02" * 9, b"\x02" * 14, *(mutate(rng, whole) for _ in range(600))):
        assert side_by_side(frame, mutate(rng, whole), rng.choice(("", "gue", "gue1")), 53)

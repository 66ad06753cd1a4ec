"""Does this frame become that frame, with these counters?

Each TOML file tells one story: a balancer, frames that come in (as a scapy expression over the names
of ``tests/packets.py``, and as hex), what leaves, why, and the counters at the end.  A frame may come with
the backends that there are from then on, or those of them that are down.  Of a story with ``samples`` the
handshakes are told as well, as they are seen when its last frame has come.
"""

from __future__ import annotations

from typing import Any

import balancer
import packets
import pytest
from golden_stories import STORIES, changed_by, moment_of, person_handshakes, table_of

from dsrlb.datapath import process
from dsrlb.model import Action, Reason, person_backend
from dsrlb.state import State, expire
from dsrlb.table import EMPTY
from dsrlb.transition import carry

FRAMES = [
    pytest.param(frame, id=f"{name}-{number}")
    for name, story in STORIES.items()
    for number, frame in enumerate(story["frames"], 1)
]


def built(expression: str) -> str:
    """Return the hex of the frame that a scapy expression builds."""
    return bytes(eval(expression, dict(vars(packets)))).hex()


@pytest.mark.parametrize("frame", FRAMES)
def test_scapy_and_hex_agree(frame: dict[str, Any]) -> None:
    assert built(frame["scapy"]) == frame["hex"]
    if "out_scapy" in frame:
        assert built(frame["out_scapy"]) == frame["out"]
    if "frees_scapy" in frame:
        assert [built(piece) for piece in frame["frees_scapy"]] == frame["frees"]


def step(frame: dict[str, Any], state: State, table: Any) -> None:
    """Process one frame of a story and compare everything that it says."""
    now_s, state.clock_us = moment_of(frame)
    if now_s:
        expire(state, now_s)
    came, goes = (getattr(packets, frame.get(key, "IFINDEX")) for key in ("came_by", "goes_by"))
    action, reason, ifindex, out = process(bytes.fromhex(frame["hex"]), came, table, state, now_s)
    assert reason.word == frame["reason"]
    assert out.hex() == frame.get("out", "")
    assert (action, ifindex) == (Action.TX if came == goes else Action.REDIRECT, goes) or "out" not in frame
    assert "out" in frame or action in (Action.DROP, Action.PASS)
    assert [freed.hex() for _, _, _, freed in state.released] == frame.get("frees", [])
    state.released.clear()


@pytest.mark.parametrize("name", STORIES)
def test_the_story_comes_true(name: str) -> None:
    story, state = STORIES[name], State()
    table = carry(EMPTY, table_of(story), 0)
    for frame in story["frames"]:
        changed = changed_by(story, frame)
        if changed is not None:
            story, table = changed, carry(table, table_of(changed), moment_of(frame)[0])
        step(frame, state, table)
    assert balancer.counted(state) == story["counters"]
    totals = {
        person_backend(backend): {"packets": count.packets, "flows": count.flows}
        for (_, backend), count in state.backends.items()
    }
    assert story.get("backend_counters", totals) == totals
    assert person_handshakes(state.handshakes.seen(state.clock_us)) == story.get("handshakes", {})


def test_every_reason_of_the_data_path_has_a_story() -> None:
    told = {frame["reason"] for story in STORIES.values() for frame in story["frames"]}
    told |= {reason for story in STORIES.values() for reason in story["counters"]}
    of_the_engines = {"receive_ring_full", "send_too_big", "send_failed", "handed_over"}
    assert {reason.word for reason in Reason} - told - of_the_engines == {
        "fragment_table_full",
        "backend_unresolved",
        "snat_exhausted",
    }

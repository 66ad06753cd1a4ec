"""Does this frame become that frame, with these counters?

Each TOML file tells one story: a balancer, frames that come in (as a scapy expression over the names
of ``tests/packets.py``, and as hex), what leaves, why, and the counters at the end.  A frame may come with
the backends that there are from then on.
"""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path
from typing import Any

import balancer
import packets
import pytest

from dsrlb.datapath import process
from dsrlb.model import Action, ModeOptions, Persist, Reason, person_backend
from dsrlb.state import State, expire
from dsrlb.table import EMPTY
from dsrlb.transition import carry

try:
    import tomllib  # type: ignore[import-not-found,unused-ignore]  # Python 3.11
except ModuleNotFoundError:  # Python 3.10
    import tomli as tomllib  # type: ignore[import-not-found,no-redef,unused-ignore]  # one of the two

STORIES = {
    path.stem: tomllib.loads(path.read_text()) for path in sorted(Path(__file__).parent.glob("*.toml"))
}
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


def table_of(story: dict[str, Any]) -> Any:
    """Return the table of a story's balancer."""
    options = dict(story.get("options", {}))
    if "source" in options:
        options["source"] = ip_address(options["source"])
    return balancer.table(
        story["vips"],
        story["backends"],
        story["scheduler"],
        mode=story.get("mode", "l2dsr"),
        options=ModeOptions(**options),
        mtu_bytes=story.get("mtu_bytes", 1500),
        mtus={packets.IFINDEX: story["client_mtu_bytes"]} if "client_mtu_bytes" in story else {},
        persist=Persist(**story["persist"]) if "persist" in story else None,
    )


def step(frame: dict[str, Any], state: State, table: Any) -> None:
    """Process one frame of a story and compare everything that it says."""
    now_s = frame.get("at_s", 0)
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
        if "backends" in frame:  # from here on
            table = carry(table, table_of({**story, "backends": frame["backends"]}), frame.get("at_s", 0))
        step(frame, state, table)
    assert balancer.counted(state) == story["counters"]
    totals = {
        person_backend(backend): {"packets": count.packets, "flows": count.flows}
        for (_, backend), count in state.backends.items()
    }
    assert story.get("backend_counters", totals) == totals


def test_every_reason_of_the_data_path_has_a_story() -> None:
    told = {frame["reason"] for story in STORIES.values() for frame in story["frames"]}
    told |= {reason for story in STORIES.values() for reason in story["counters"]}
    of_the_engines = {"receive_ring_full", "send_too_big", "send_failed", "handed_over"}
    assert {reason.word for reason in Reason} - told - of_the_engines == {
        "fragment_table_full",
        "backend_unresolved",
        "snat_exhausted",
    }

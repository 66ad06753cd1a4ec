"""The stories of ``tests/golden``: what each file tells, and the balancer that it tells of."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import balancer
import packets

from dsrlb.model import ModeOptions, Persist, person_backend
from dsrlb.sampling import Handshakes
from dsrlb.standing import Names
from dsrlb.table import ForwardingTable

try:
    import tomllib  # type: ignore[import-not-found,unused-ignore]  # Python 3.11
except ModuleNotFoundError:  # Python 3.10
    import tomli as tomllib  # type: ignore[import-not-found,no-redef,unused-ignore]  # one of the two

FOLDER = Path(__file__).parent / "golden"
STORIES: dict[str, dict[str, Any]] = {
    path.stem: tomllib.loads(path.read_text()) for path in sorted(FOLDER.glob("*.toml"))
}


def table_of(story: dict[str, Any]) -> ForwardingTable:
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
        down=story.get("down", ()),
        on_all_down=story.get("on_all_down", "keep"),
        samples=story.get("samples", False),
        own=story.get("own", ()),
    )


def changed_by(story: dict[str, Any], frame: dict[str, Any]) -> dict[str, Any] | None:
    """Return a story's balancer as it is from a frame on; None: nothing changes."""
    changes = {name: frame[name] for name in ("backends", "down") if name in frame}
    return {**story, **changes} if changes else None


def moment_of(frame: dict[str, Any]) -> tuple[int, int]:
    """Return when a frame comes, in seconds and in microseconds: ``at_us`` tells both, else ``at_s``."""
    clock_us = frame.get("at_us", frame.get("at_s", 0) * 1_000_000)
    return clock_us // 1_000_000, clock_us


def person_handshakes(seen: Mapping[Names, Handshakes]) -> dict[str, dict[str, Any]]:
    """Return what was seen of handshakes as a story tells it: by backend, what is not zero."""
    return {person_backend(backend): _not_zero(one) for (_, backend), one in seen.items()}


def _not_zero(seen: Handshakes) -> dict[str, Any]:
    times = {str(bucket): count for bucket, count in enumerate(seen.times) if count}
    told = {**seen._asdict(), "times": times, "waiting_us": sorted(seen.waiting_us)}
    return {name: value for name, value in told.items() if value}

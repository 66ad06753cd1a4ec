"""The stories of ``tests/golden``: what each file tells, and the balancer that it tells of."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path
from typing import Any

import balancer
import packets

from dsrlb.model import ModeOptions, Persist
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
    )


def changed_by(story: dict[str, Any], frame: dict[str, Any]) -> dict[str, Any] | None:
    """Return a story's balancer as it is from a frame on; None: nothing changes."""
    changes = {name: frame[name] for name in ("backends", "down") if name in frame}
    return {**story, **changes} if changes else None

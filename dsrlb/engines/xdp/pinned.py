"""Maps that an earlier process left: what they hold, and whether this program can use them."""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from dsrlb.engines.xdp import layout
from dsrlb.engines.xdp.sizes import WAY_OUT, Sizes
from dsrlb.errors import HostError
from dsrlb.host import bpf, bpf_maps

_NONE_YET = 0  # whoever made the maps was killed before they were used
_OF = {
    "front": layout.FRONT_BUCKET,
    "vips": layout.VIP_BUCKET,
    "services": layout.SERVICE,
    "slots": layout.SLOT_LINE,
    "targets": layout.TARGET,
    "loads": layout.LOAD,
    "races": layout.RACE,
    "interfaces": layout.INTERFACE,
    "cells": layout.CELL,
    "handshakes": layout.HANDSHAKES,
    "flows": layout.FLOW_BUCKET,
    "setup": layout.SETUP,
}


def are_made(folder: Path) -> bool:
    """Return whether all maps are pinned in a folder; a start that was killed may leave some.

    The layout is written when all have been made.
    """
    return (folder / "flows").exists() and _layout_in(folder / "setup") != _NONE_YET


def found_at(folder: Path) -> dict[str, int]:
    """Return the entries of each map that is pinned in a folder.

    Raises HostError when they are of another layout.
    """
    there: dict[str, int] = {}
    for name in layout.KEPT:
        found = bpf_maps.entries_of(folder / name)
        if found is None:
            continue
        there[name], value_bytes = found
        if name in _OF and value_bytes != _OF[name].itemsize:
            raise HostError(_of_another(folder))
    if _layout_in(folder / "setup") not in (_NONE_YET, layout.LAYOUT):
        raise HostError(_of_another(folder))
    return there


def _layout_in(setup: Path) -> int:
    fd = bpf.pinned(setup)
    if fd is None:
        return _NONE_YET
    try:
        value = bpf_maps.lookup(bpf_maps.map_of(fd), bytes(4))
    finally:
        os.close(fd)
    return int(struct.unpack_from("=I", value or bytes(4))[0])


def _of_another(folder: Path) -> str:
    return f"the maps in {folder} are those of another version of dsrlb, with another layout: {WAY_OUT}."


def sizes_found(wanted: Sizes, there: Mapping[str, int], folder: Path | None) -> Sizes:
    """Return the sizes of the maps that are there, and those wanted of the others.

    Raises HostError when fewer flows go on record there than are wanted; the rest shows in the table.
    """
    names = {name for name in ("front", "vips", "services", "targets", "slots", "flows") if name in there}
    sizes = replace(wanted, **{name: there[name] for name in names})
    if sizes.flows < wanted.flows:
        raise HostError(
            f"the flow table in {folder} has room for {sizes.max_flows} flows, not {wanted.max_flows}: "
            f"{WAY_OUT}."
        )
    return sizes

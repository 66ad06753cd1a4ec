"""What the instances of this network namespace serve, as the maps say that they pinned."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path

from dsrlb.engines.xdp import pins
from dsrlb.host import bpf, bpf_maps
from dsrlb.host.guard import Answers, Guarded
from dsrlb.model import PROTOCOL_NUMBERS, person_address

_PROTOCOLS = {number: word for word, number in PROTOCOL_NUMBERS.items()}


def left_here(bpf_fs: Path) -> Iterator[tuple[str, frozenset[bytes]]]:
    """Yield the instances of this network namespace that no process runs, and the VIPs they serve."""
    for instance in pins.here(bpf_fs):
        if not pins.is_run(bpf_fs, instance):
            yield instance, _vips(bpf_fs / pins.FOLDER / instance / "maps")


def guarded_here(bpf_fs: Path) -> frozenset[Guarded]:
    """Return what the host is to be kept off for the programs of this network namespace.

    Raises HostError or OSError without the privilege to read it.
    """
    return frozenset(one for instance in pins.here(bpf_fs) for one in _guarded(bpf_fs, instance))


def _guarded(bpf_fs: Path, instance: str) -> Iterator[Guarded]:
    maps = bpf_fs / pins.FOLDER / instance / "maps"
    yield from (ip_address(person_address(vip)) for vip in _vips(maps))
    for key, to_anybody in _entries(maps / "answering").items():
        if any(to_anybody):
            server = ip_address(person_address(key[:16]))
            yield Answers(server, int.from_bytes(key[16:18], "big"), _PROTOCOLS[key[18]])


def _vips(maps: Path) -> frozenset[bytes]:
    """Return the VIPs (16 bytes each) of an instance, by the folder of its maps."""
    buckets = _entries(maps / "vips").values()
    return frozenset(one[at : at + 16] for one in buckets for at in range(0, len(one), 16)) - {bytes(16)}


def _entries(where: Path) -> dict[bytes, bytes]:
    """Return what is in the map that is pinned there; nothing if none is."""
    with _opened(where) as table:
        if table is None:
            return {}
        values = {key: bpf_maps.lookup(table, key) for key in bpf_maps.keys(table)}
    return {key: value for key, value in values.items() if value is not None}


@contextmanager
def _opened(where: Path) -> Iterator[bpf_maps.Map | None]:
    fd = bpf.pinned(where)
    if fd is None:
        yield None
        return
    try:
        yield bpf_maps.map_of(fd)
    finally:
        os.close(fd)

"""Two compiled services beside each other: which slots change hands, how even they are, what fits.  Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsrlb.model import person_address
from dsrlb.schedulers.base import Cursor
from dsrlb.table import CompiledService
from dsrlb.wire import ipv4, ipv6, l4

Row = dict[str, Any]
Compiled = Mapping[bytes, CompiledService]
_HASHES = (Cursor.FLOW_HASH, Cursor.CLIENT_HASH)
_PROTOCOL_AT = 18  # in a service key


def moved_rows(old: Compiled, new: Compiled) -> list[Row]:
    """Return how many slots have changed hands, of each service that is in both, where some have."""
    both = ((old[key], new[key]) for key in new if key in old)
    rows = ((after, slots_moved(before, after)) for before, after in both if before is not after)
    return [
        {"service": after.name, "slots": len(after.slots), "slots_moved": count}
        for after, count in rows
        if count != 0
    ]


def slots_moved(old: CompiledService, new: CompiledService) -> int | None:
    """Return how many slots change hands; None where the two are not read alike, or differ in length."""
    is_read_alike = (old.cursor, old.prefixes) == (new.cursor, new.prefixes)
    if not is_read_alike or len(old.slots) != len(new.slots):
        return None
    places = {key: place for place, key in enumerate(dict.fromkeys((*old.by_key, *new.by_key)))}
    return int(np.count_nonzero(_owners(old, places) != _owners(new, places)))


def moved_share(old: CompiledService, new: CompiledService) -> float:
    """Return the part of new flows that go to another backend than they would have gone to.

    By slots where a hash reads both alike.  By two hashes that have nothing to do with each other, a flow
    gets the same backend by chance alone; where backends take turns, what one has more another has less.
    """
    count = slots_moved(old, new)
    if new.cursor in _HASHES and count is not None and len(new.slots):
        return count / len(new.slots)
    was, will_be = parts(old), parts(new)
    keys = dict.fromkeys((*was, *will_be))
    if old.cursor in _HASHES and new.cursor in _HASHES:
        return 1 - sum(was.get(key, 0) * will_be.get(key, 0) for key in keys)
    more = [will_be.get(key, 0) - was.get(key, 0) for key in keys]
    return max(sum(max(one, 0) for one in more), sum(max(-one, 0) for one in more))


def _owners(service: CompiledService, places: Mapping[bytes, int]) -> NDArray[np.int64]:
    """Return the backend of each slot, by the numbers that both services have for them."""
    known = np.array([places[target.key] for target in service.targets], np.int64)
    return known[np.frombuffer(service.slots, np.uint16)] if len(service.slots) else known[:0]


def parts(service: CompiledService | None) -> dict[bytes, float]:
    """Return the part of new flows that each backend gets by its share."""
    if service is None:
        return {}
    whole = sum(service.shares) or 1
    return {one.key: share / whole for one, share in zip(service.targets, service.shares, strict=True)}


def settled(service: CompiledService | None, *, is_weighted: bool) -> dict[bytes, float]:
    """Return the same once no backend starts slowly any more."""
    if service is None:
        return {}
    shares = {
        one.key: (one.weight if is_weighted else min(one.weight, 1)) if one.up and one.hop is not None else 0
        for one in service.targets
    }
    whole = sum(shares.values()) or 1
    return {key: share / whole for key, share in shares.items()}


def slots_of(service: CompiledService | None) -> dict[bytes, int]:
    """Return how many slots each backend has."""
    if service is None:
        return {}
    counted = np.bincount(np.frombuffer(service.slots, np.uint16), minlength=len(service.targets))
    return {one.key: int(count) for one, count in zip(service.targets, counted, strict=True)}


def imbalance_percent(service: CompiledService | None) -> float | None:
    """Return by how much the fullest backend has more slots than its share of them."""
    if service is None or not len(service.slots):
        return None
    have, ideal = slots_of(service), parts(service)
    over = (have[key] / (part * len(service.slots)) - 1 for key, part in ideal.items() if part)
    return round(100 * max(over, default=0.0), 3)


def fits_bytes(service: CompiledService | None) -> int | None:
    """Return the longest packet of a client that fits on the way to each backend; None: not known."""
    if service is None:
        return None
    fits = (
        one.hop.mtu_bytes - service.mode.overhead_bytes(service.options, _version(one.address))
        for one in service.targets
        if one.hop is not None and one.hop.mtu_bytes
    )
    return min(fits, default=None)


def mss(service: CompiledService | None) -> int | None:
    """Return the MSS that goes with it; None: not known, or not TCP."""
    fits = fits_bytes(service)
    if service is None or fits is None or service.key[_PROTOCOL_AT] != l4.TCP:
        return None
    header = ipv6.HEADER_BYTES if _version(service.key[:16]) == 6 else ipv4.HEADER_BYTES
    return fits - l4.TCP_HEADER_BYTES - header


def _version(wire: bytes) -> int:
    return 6 if ":" in person_address(wire) else 4

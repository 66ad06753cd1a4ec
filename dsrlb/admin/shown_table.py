"""``dsrlb show table``: the forwarding table as it is compiled, by which packets are forwarded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsrlb.admin.choosing import services_of
from dsrlb.admin.shown import Seen
from dsrlb.model import Service, person_address, person_backend, person_mac
from dsrlb.standing import key_of, named
from dsrlb.table import CompiledService, Former, Target

Row = dict[str, Any]
MARK_BYTES = 4


def rows(seen: Seen, links: Mapping[int, str], service: str | None = None) -> Iterator[Row]:
    """Return rows, one for each service; each takes a millisecond.  ``links``: interfaces by ifindex."""
    among = services_of(seen.config.services, service)
    compiled = ((one, seen.table.services.get(key_of(one))) for one in among)
    return (_service(one, what, links, seen.now_s) for one, what in compiled if what is not None)


def mark(compiled: CompiledService) -> str:
    """Return eight digits that two balancers have alike if they pick the same backend for a new flow.

    That holds for cursors that hash; the others go by what each has forwarded so far.
    """
    digest = blake2b(repr((compiled.cursor, compiled.prefixes)).encode(), digest_size=MARK_BYTES)
    is_used = slots_of_each(compiled) > 0
    for target, one in zip(compiled.targets, is_used, strict=True):
        digest.update(bytes((len(target.key),)) + target.key if one else b"")
    digest.update((np.cumsum(is_used, dtype=np.uint16))[np.frombuffer(compiled.slots, np.uint16)].tobytes())
    return digest.hexdigest()


def slots_of_each(compiled: CompiledService) -> NDArray[np.intp]:
    """Return how many slots each backend of a service has."""
    return np.bincount(np.frombuffer(compiled.slots, np.uint16), minlength=len(compiled.targets))


def _service(service: Service, compiled: CompiledService, links: Mapping[int, str], now_s: float) -> Row:
    labels = {names[1]: one.label for names, one in named(service)}
    return {
        "service": compiled.name,
        "service_name": service.label,
        "mode": compiled.mode.name,
        "scheduler": service.scheduler,
        "cursor": compiled.cursor.value,
        "mark": mark(compiled),
        "slots": len(compiled.slots),
        "records_all": compiled.records_all,
        "samples": compiled.samples,
        "refuses": compiled.refuses,
        "client_prefixes": None if compiled.prefixes is None else list(compiled.prefixes),
        "stand_in": None if compiled.source is None else person_address(compiled.source),
        "transition": None if compiled.former is None else _transition(compiled, compiled.former, now_s),
        "targets": [
            {"name": labels.get(target.key, ""), "slots": int(slots), "share": share}
            | _target(target, compiled, links)
            for target, slots, share in zip(
                compiled.targets, slots_of_each(compiled), compiled.shares, strict=True
            )
        ],
    }


def _target(target: Target, compiled: CompiledService, links: Mapping[int, str]) -> Row:
    hop = target.hop
    added = compiled.mode.overhead_bytes(compiled.options, 6 if ":" in person_address(target.address) else 4)
    known = hop is not None and hop.mtu_bytes > 0
    return {
        "backend": person_backend(target.key),
        "weight": target.weight,
        "up": target.up,
        "interface": None if hop is None else links.get(hop.ifindex, str(hop.ifindex)),
        "mac": None if hop is None else person_mac(hop.dst_mac),
        "mtu_bytes": hop.mtu_bytes if hop is not None and known else None,
        "fits_bytes": hop.mtu_bytes - added if hop is not None and known else None,
    }


def _transition(compiled: CompiledService, former: Former, now_s: float) -> Row:
    """Return how many slots change hands, and when flows that are older need no former slots any more."""
    before, now = (np.frombuffer(one, np.uint16) for one in (former.slots, compiled.slots))
    is_alike = len(before) == len(now) and former.prefixes == compiled.prefixes
    return {
        "former_slots": len(before),
        "changing": int(np.count_nonzero(before != now)) if is_alike else None,
        "ends_in_s": max(0, int(former.until_s - now_s)),
    }

"""How much the program's maps hold, and what memory that takes.

Maps do not grow: they are made once, with head room for reloads, and live on when the process is replaced.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass

from dsrlb.engines.xdp import layout
from dsrlb.engines.xdp.placing import buckets_for
from dsrlb.sampling import CELLS
from dsrlb.table import CompiledService, ForwardingTable

WAY_OUT = "run dsrlb detach, which forgets flows and counters, and start dsrlb again"
DEFAULT_MAX_FLOWS = 1_000_000
MOST_TARGETS = 65_536  # their indices have 16 bits; 0 is none
MOST_SERVICES = 65_536
SOURCES = 256
MOST_OWN = 4096  # addresses of the host
_LEAST_SERVICES, _LEAST_TARGETS = 64, 256
_SPARE_LINES = 65_536  # 4 MiB: the slots of 31 more services with maglev


@dataclass(frozen=True)
class Sizes:
    """What each map holds at most."""

    front: int  # buckets, a power of two
    vips: int  # buckets, a power of two
    services: int  # lines, twice the services; index 0 is none
    targets: int
    slots: int  # lines
    flows: int  # buckets, a power of two

    @property
    def max_flows(self) -> int:
        """How many flows can be on record with no bucket likely to be full."""
        return self.flows * layout.FLOWS_A_BUCKET // 2

    @property
    def max_services(self) -> int:
        """How many services there may be: a new line is written while the old one is in use."""
        return self.services // 2 - 1


def sizes_for(table: ForwardingTable, max_flows: int = DEFAULT_MAX_FLOWS) -> Sizes:
    """Return sizes for a table and for what it may grow to."""
    services, targets = len(table.services), sum(len(one.targets) for one in table.services.values())
    lines = sum(lines_of(one) for one in table.services.values())
    return Sizes(
        front=max(buckets_for(table.services, layout.FRONT_WAYS), _LEAST_SERVICES),
        vips=max(buckets_for(table.vips, layout.VIP_WAYS), _LEAST_SERVICES // 2),
        services=min(max(4 * power_of_two(services + 1), 2 * _LEAST_SERVICES), MOST_SERVICES),
        targets=min(max(2 * power_of_two(targets + 1), _LEAST_TARGETS), MOST_TARGETS),
        slots=2 * lines + _SPARE_LINES,
        flows=max(power_of_two(2 * max_flows) // layout.FLOWS_A_BUCKET, 2),
    )


def power_of_two(least: int) -> int:
    """Return the smallest power of two that is not below."""
    return 1 << max(least - 1, 0).bit_length()


def lines_of(service: CompiledService) -> int:
    """Return how many lines the slots of a service take, all told, when every backend can be reached."""
    former = 0 if service.former is None else len(service.former.slots)
    running = len(service.targets) if service.cursor in layout.RUNS else 0
    slots = max(len(service.slots), len(service.intended))
    return lines_for(slots) + lines_for(former) + lines_for(running)


def lines_for(slots: int) -> int:
    """Return how many lines so many slots take."""
    return -(-slots // layout.SLOTS_A_LINE)


def max_entries(sizes: Sizes) -> Mapping[str, int]:
    """Return the sizes of maps by name."""
    return {
        "front": sizes.front,
        "vips": sizes.vips,
        "services": sizes.services,
        "current": sizes.services,
        "races": sizes.services,
        "slots": sizes.slots,
        "targets": sizes.targets,
        "loads": sizes.targets,
        "counts": sizes.targets,
        "handshakes": sizes.targets,
        "cells": CELLS,
        "members": sizes.targets,
        "sources": SOURCES,
        "interfaces": layout.INTERFACES,
        "flows": sizes.flows,
        "flow_marks": sizes.flows,
        "replies": sizes.max_flows,
        "servers": sizes.targets,
        "answering": sizes.targets,
        "own_addresses": MOST_OWN,
    }


def constants(sizes: Sizes) -> dict[str, bytes]:
    """Return the program's constants that go with the sizes."""
    masks = {"front_mask": sizes.front, "vip_mask": sizes.vips, "flow_mask": sizes.flows}
    return {name: struct.pack("=I", count - 1) for name, count in masks.items()}

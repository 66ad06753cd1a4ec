"""Do the control path and the program in the kernel mean the same bytes?"""

from __future__ import annotations

import re
from enum import IntFlag
from functools import cache
from typing import Any

import numpy as np
import pytest
from btf import Btf

from dsrlb.bpf.compile import FOLDER
from dsrlb.bpf.objects import object_path
from dsrlb.engines.tracing import FRAME_BYTES, HEADERS_BYTES
from dsrlb.engines.xdp import layout, traced
from dsrlb.flows import FlowState
from dsrlb.model import Reason
from dsrlb.sampling import BUCKETS, CELLS, SILENT_US
from dsrlb.wire.flowhash import CONSTANTS

STRUCTS = {
    "service_key": layout.SERVICE_KEY,
    "flow_key": layout.FLOW_KEY,
    "front_entry": layout.FRONT_ENTRY,
    "front_bucket": layout.FRONT_BUCKET,
    "vip_bucket": layout.VIP_BUCKET,
    "interface": layout.INTERFACE,
    "service": layout.SERVICE,
    "slot_line": layout.SLOT_LINE,
    "hop": layout.HOP,
    "target": layout.TARGET,
    "load": layout.LOAD,
    "count": layout.COUNT,
    "race": layout.RACE,
    "flow": layout.FLOW,
    "flow_bucket": layout.FLOW_BUCKET,
    "template_key": layout.TEMPLATE_KEY,
    "template": layout.TEMPLATE,
    "fragment_key": layout.FRAGMENT_KEY,
    "fragment_owner": layout.FRAGMENT_OWNER,
    "allowance": layout.ALLOWANCE,
    "setup": layout.SETUP,
    "cell": layout.CELL,
    "handshakes": layout.HANDSHAKES,
    "reasons": layout.REASONS,
}
FLOW_STATES = ("UDP_FLOW", "SYN_RECEIVED", "ESTABLISHED", "FIN_WAIT", "CLOSED")


@cache
def program() -> Btf:
    return Btf(object_path("xdp"))


@cache
def telling() -> Btf:
    return Btf(object_path("traced"))


@cache
def numbers(header: str) -> dict[str, int]:
    """Return what a header calls a number: members of its enums, and plain constants."""
    text = re.sub(r"/\*.*?\*/", "", (FOLDER / "xdp" / header).read_text(), flags=re.DOTALL)
    named = {
        name: int(value, 0) for name, value in re.findall(r"#define (\w+) (0x\w+|\d+)[ \t]*\n", text + "\n")
    }
    for body in re.findall(r"enum \w+ \{(.*?)\}", text, flags=re.DOTALL):
        number = 0
        for member in filter(None, (word.strip() for word in body.split(","))):
            name, _, value = member.partition(" = ")
            number = int(value, 0) if value else number
            named[name], number = number, number + 1
    return named


def fields_of(of: np.dtype[Any]) -> dict[str, tuple[int, int]]:
    fields = of.fields or {}
    return {name: (field[1], field[0].itemsize) for name, field in fields.items()}


@pytest.mark.parametrize("name", STRUCTS)
def test_every_struct_has_the_same_members_at_the_same_places(name: str) -> None:
    assert fields_of(STRUCTS[name]) == program().members(name)
    assert STRUCTS[name].itemsize == program().size(name)


@pytest.mark.parametrize("name", ["front_bucket", "vip_bucket", "slot_line", "interface", "target", "flow"])
def test_what_a_plain_packet_looks_at_is_a_cache_line(name: str) -> None:
    assert program().size(name) == layout.CACHE_LINE


@pytest.mark.parametrize(("name", "of"), [("decision", traced.DECISION), ("filter", traced.FILTER)])
def test_what_is_told_and_asked_of_decisions_has_the_same_members(name: str, of: np.dtype[Any]) -> None:
    assert fields_of(of) == telling().members(name)
    assert of.itemsize == telling().size(name)


def test_the_program_that_tells_has_the_other_ones_maps_and_its_own() -> None:
    assert sorted(telling().variables(".maps")) == sorted((*layout.KEPT, *layout.PASSING, *traced.MAPS))
    named = numbers("notes.h")
    assert named["TRACED_BYTES"] == FRAME_BYTES
    assert HEADERS_BYTES % 8 == FRAME_BYTES % 8 == 0
    assert len(Reason) <= named["REASONS"] == layout.TEMPLATES_REFUSED


def test_of_every_map_it_is_said_whether_it_outlives_the_process() -> None:
    assert sorted(program().variables(".maps")) == sorted((*layout.KEPT, *layout.PASSING))


def test_reasons_have_the_numbers_of_the_model() -> None:
    named = numbers("reasons.h")
    assert {one.name: named.get(one.name) for one in Reason} == {one.name: int(one) for one in Reason}
    assert named["RECORDS_REFUSED"] == layout.RECORDS_REFUSED


def test_the_states_of_flows_have_the_numbers_of_flows() -> None:
    assert [numbers("layout.h")[name] for name in FLOW_STATES] == list(FlowState)


def test_modes_encapsulations_and_cursors_have_the_programs_numbers() -> None:
    named = numbers("layout.h")
    assert [named[name.upper()] for name in layout.MODES] == list(range(len(layout.MODES)))
    assert [named[name.upper()] for name in layout.ENCAPS] == list(range(len(layout.ENCAPS)))
    assert {cursor: named[cursor.name] for cursor in layout.CURSORS} == dict(layout.CURSORS)


def test_steps_have_the_programs_numbers() -> None:
    named = numbers("steps.h")
    names = [f"MODE_{name.upper()}" if name in layout.MODES else name.upper() for name in layout.STEPS]
    assert [named[name] for name in names] == list(range(len(layout.STEPS)))
    assert named["STEPS"] == len(layout.STEPS)


@pytest.mark.parametrize("flags", [layout.ServiceFlag, layout.TargetFlag, layout.FlowBit])
def test_flags_are_the_programs(flags: type[IntFlag]) -> None:
    named = numbers("layout.h")
    assert {one.name: named.get(str(one.name)) for one in flags} == {one.name: int(one) for one in flags}


@pytest.mark.parametrize(
    "name",
    [
        "LAYOUT",
        "CACHE_LINE",
        "FRONT_WAYS",
        "VIP_WAYS",
        "INTERFACES",
        "SLOTS_A_LINE",
        "FLOWS_A_BUCKET",
        "NO_HOP",
    ],
)
def test_constants_are_the_programs(name: str) -> None:
    assert getattr(layout, name) == numbers("layout.h")[name]


def test_handshakes_are_looked_at_by_the_numbers_of_sampling() -> None:
    named = numbers("layout.h")
    assert (named["CELLS"], named["SILENT_US"], named["TIMES"]) == (CELLS, SILENT_US, BUCKETS)
    assert CELLS % layout.FLOW_LOCKS == 0  # so a cell has one lock


def test_hash_constants_are_those_of_the_flow_hash() -> None:
    text = (FOLDER / "xdp" / "hash.h").read_text()
    found = {name: int(value, 16) for name, value in re.findall(r"#define (K\w+) (0x[0-9a-f]+)ULL", text)}
    assert [found[f"K{n}"] for n in range(11)] + [found["KMIX"]] == list(CONSTANTS)

"""Second names in the program's maps: do they agree with the flows on record?"""

from __future__ import annotations

import struct

from dsrlb.engines.xdp import reading
from dsrlb.engines.xdp.install import Tables
from dsrlb.engines.xdp.layout import FlowBit
from dsrlb.engines.xdp.program import Loaded
from dsrlb.engines.xdp.translations import translation_of_flow
from dsrlb.host import bpf_maps
from dsrlb.ports import FIRST

_ARC = struct.Struct("=16x48Q")  # struct arc: the bits
_ARC_PORTS = 48 * 64
_NUMBER_AT, _PORT_AT = 37, 34  # in the key of an arc


def check(program: Loaded, tables: Tables, may_lack: int) -> None:
    """Every name is that of one flow on record, which says so; no port is in use that no flow has.

    ``may_lack``: so many ports may be a flow's, and not be marked as in use.
    """
    named, ported = set(), set()
    for key, record in reading.flows(tables):
        translation = translation_of_flow(program, key, record)
        assert (translation is not None) == bool(record.bits & FlowBit.HAS_NAME)
        if translation is not None:
            named.add(translation.reply_key)
        if translation is not None and record.bits & FlowBit.HAS_PORT:
            ported.add(translation.reply_key)
    assert set(bpf_maps.keys(program.maps["replies"])) == named
    taken = ports_in_use(program)
    assert taken <= ported
    assert len(ported - taken) <= may_lack


def ports_in_use(program: Loaded) -> set[bytes]:
    """Return the ports that are marked as in use, as the second names that they make."""
    arcs, found = program.maps["arcs"], set()
    for key in bpf_maps.keys(arcs):
        words = _ARC.unpack(bpf_maps.lookup(arcs, key) or bytes(_ARC.size))
        bits = int.from_bytes(struct.pack("<48Q", *words), "little")
        first = FIRST + key[_NUMBER_AT] * _ARC_PORTS
        for place in range(_ARC_PORTS):
            if bits >> place & 1:
                port = (first + place).to_bytes(2, "big")
                found.add(key[:_PORT_AT] + port + key[_PORT_AT + 2 : _NUMBER_AT] + bytes(3))
    return found

"""Translated flows as the program has them: a second name, and the way back to the client.

A flow's second name stands in the map ``replies`` as a key, and can be told from the flow's record as well
(``bpf/xdp/names.h``).
"""

from __future__ import annotations

import struct

from dsrlb.engines.xdp.layout import FlowBit
from dsrlb.engines.xdp.program import Loaded
from dsrlb.engines.xdp.reading import Record
from dsrlb.flows import Translation
from dsrlb.host import bpf_maps

_INDEX = struct.Struct("=I")
_TRANSLATION = struct.Struct(
    "=40s I I 22s B x"
)  # struct translation: key, hash, back_ifindex, link, bytes of it
_OWNER = struct.Struct("=I I 40s 40s")  # struct reply_owner: until_s, whether it is ours, both names
_STAND_IN = struct.Struct("=16x 16s")  # struct stand_in: lock, address


def translation_of_flow(loaded: Loaded, key: bytes, record: Record) -> Translation | None:
    """Return the translation of the flow of this key, if it has one."""
    if not record.bits & FlowBit.HAS_NAME:
        return None
    server, port, client = record.backend[:16], record.backend[16:] or key[34:36], key[:16]
    if record.bits & FlowBit.HAS_PORT:
        value = bpf_maps.lookup(loaded.maps["stand_ins"], _INDEX.pack(record.stand_in))
        client = _STAND_IN.unpack(value)[0] if value is not None else client
    name = server + client + port + record.nat_port.to_bytes(2, "big") + key[36:]
    found = translation_of_reply(loaded, name)
    return found if found is not None and found.key == key else None


def translation_of_reply(loaded: Loaded, reply_key: bytes) -> Translation | None:
    """Return the translation of the flow of this second name, if there is one."""
    value = bpf_maps.lookup(loaded.maps["replies"], reply_key)
    if value is None:
        return None
    key, _, back_ifindex, link, link_bytes = _TRANSLATION.unpack(value)
    return Translation(key, reply_key, back_ifindex, link[:link_bytes])


def reply_owner(value: bytes) -> tuple[int, tuple[bytes, bytes]]:
    """Return until when the owner of a server's datagram is remembered, and both names of its flow.

    They are empty for one that the server sends on its own account.
    """
    until_s, is_ours, key, name = _OWNER.unpack(value)
    return until_s, (key, name) if is_ours else (b"", b"")

"""Where clients and datagrams in pieces belong, as the program's maps have it; read, never written."""

from __future__ import annotations

import struct

from dsrlb.engines.xdp.install import Tables
from dsrlb.engines.xdp.translations import reply_owner
from dsrlb.fragments import Datagram
from dsrlb.host import bpf_maps
from dsrlb.persistence import Template

_OWNER = struct.Struct("=IHH")  # struct fragment_owner: until_s, service, target
_TEMPLATE = struct.Struct("=II")  # struct template: target, until_s
_DATAGRAM_BYTES = 40  # struct fragment_key


def template(tables: Tables, key: bytes) -> Template | None:
    """Return the template of a client, over or not."""
    value = bpf_maps.lookup(tables.loaded.maps["templates"], key)
    if value is None:
        return None
    target, until_s = _TEMPLATE.unpack(value)
    names = tables.names(target)
    return Template(names[1], until_s) if names is not None else None


def datagram(tables: Tables, name: str, key: bytes) -> Datagram | None:
    """Return a datagram whose first piece has been seen, over or not; without an owner: that one is gone.

    ``name`` is the map: "fragments", of clients; "reply_fragments", of servers.
    """
    value = bpf_maps.lookup(tables.loaded.maps[name], key.ljust(_DATAGRAM_BYTES, b"\0"))
    if value is None:
        return None
    if name == "reply_fragments":
        return Datagram(*reply_owner(value))
    until_s, _, target = _OWNER.unpack(value)
    return Datagram(until_s, tables.names(target))

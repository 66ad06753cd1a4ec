"""Rings of source ports that the program takes from (``bpf/xdp/rings.h``): forgotten when they rested."""

from __future__ import annotations

import struct

from dsrlb.engines.xdp.program import Loaded
from dsrlb.host import bpf_maps
from dsrlb.ports import PORT_AT, REST_S, SWEEP_RINGS, Ring

ARCS, ARC_PORTS = 21, 3072
_RING = struct.Struct("=I4xq")  # struct ring: head, ports in use
_ARC = struct.Struct("=16x48Q")  # struct arc: a bit for each port
_ARC_AT = 37  # in the key of a ring: where that of an arc has its number


def ring_in(loaded: Loaded, name: bytes) -> Ring | None:
    """Return the ring of a name (a reply key without its port) as it stands in the maps."""
    key = name[:PORT_AT] + bytes(2) + name[PORT_AT:]
    value = bpf_maps.lookup(loaded.maps["rings"], key)
    if value is None:
        return None
    ring = Ring(0)
    ring.head, _ = _RING.unpack(value)
    for number in range(ARCS):
        arc = bpf_maps.lookup(loaded.maps["arcs"], key[:_ARC_AT] + bytes((number, 0, 0)))
        words = enumerate(_ARC.unpack(arc) if arc is not None else ())
        ring.used |= sum(word << 64 * place for place, word in words) << ARC_PORTS * number
    return ring


class Rings:
    """What of ``SourcePorts`` is left to do outside of the program."""

    def __init__(self, loaded: Loaded) -> None:
        self._rings, self._arcs = loaded.maps["rings"], loaded.maps["arcs"]
        self._idle: dict[bytes, tuple[int, int]] = {}  # head of a ring without ports in use; since when
        self._waiting: list[bytes] = []  # to be looked at in this round

    def expire(self, now_s: int, most: int = SWEEP_RINGS) -> None:
        """Forget rings whose last port was given back ``REST_S`` ago, looking at a bounded number per call.

        A new ring of the same name begins anywhere: no server may remember a port of the old one.
        """
        if not self._waiting:
            self._waiting = list(bpf_maps.keys(self._rings))
            self._idle = {name: self._idle[name] for name in self._waiting if name in self._idle}
        names, self._waiting = self._waiting[:most], self._waiting[most:]
        for name in names:
            if self._has_rested(name, now_s):
                bpf_maps.delete(self._rings, name)
                for number in range(ARCS):
                    bpf_maps.delete(self._arcs, name[:_ARC_AT] + bytes((number, 0, 0)))

    def _has_rested(self, name: bytes, now_s: int) -> bool:
        value = bpf_maps.lookup(self._rings, name)
        head, used = _RING.unpack(value) if value is not None else (0, 1)
        if used > 0:
            self._idle.pop(name, None)
            return False
        before, since_s = self._idle.get(name, (head, now_s))
        if before != head:  # a port was in use since this was looked at last
            since_s = now_s
        self._idle[name] = head, since_s
        return bool(now_s - since_s >= REST_S)

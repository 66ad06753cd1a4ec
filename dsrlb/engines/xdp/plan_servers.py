"""What is to be written of inline servers: their addresses, where they answer from, who the host is."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from dsrlb.engines.xdp import layout
from dsrlb.engines.xdp.allocation import Allocation
from dsrlb.engines.xdp.sizes import MOST_OWN
from dsrlb.engines.xdp.writes import PutKey, Write
from dsrlb.table import ForwardingTable

_NUMBER = struct.Struct("=I")
_YES = _NUMBER.pack(1)


class ServerPlan:
    """Plans ``servers``, ``answering`` and ``own_addresses``."""

    def __init__(self, allocation: Allocation, table: ForwardingTable) -> None:
        self._allocation, self._table = allocation, table

    def add(self) -> Iterator[Write]:
        """Yield what makes servers of a table heard, and what they answer from."""
        allocation, table = self._allocation, self._table
        yield from self._follow_own()
        for server in sorted(table.servers - allocation.servers):
            yield PutKey("servers", server, _YES)
        for key, to_anybody in table.answering.items():
            if allocation.answering.get(key) != to_anybody:
                yield PutKey("answering", _answering_key(key), _NUMBER.pack(to_anybody))
        allocation.servers |= table.servers
        allocation.answering |= table.answering

    def remove(self) -> Iterator[Write]:
        """Yield what lets servers be heard no more, but for those that stay."""
        allocation, table = self._allocation, self._table
        for server in sorted(allocation.servers - table.servers):
            yield PutKey("servers", server, None)
        for key in allocation.answering.keys() - table.answering.keys():
            yield PutKey("answering", _answering_key(key), None)
        allocation.servers = set(table.servers)
        allocation.answering = dict(table.answering)

    def _follow_own(self) -> Iterator[Write]:
        """Yield what lets the host have what servers send it, at so many addresses as there is room for."""
        there, wanted = self._allocation.own, set(sorted(self._table.own)[:MOST_OWN])
        for address in sorted(there - wanted):
            yield PutKey("own_addresses", address, None)
        for address in sorted(wanted - there):
            yield PutKey("own_addresses", address, _YES)
        self._allocation.own = wanted


def _answering_key(key: bytes) -> bytes:
    return key.ljust(layout.SERVICE_KEY.itemsize, b"\0")

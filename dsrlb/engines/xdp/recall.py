"""What the program remembers, as the data path in Python asks for it; read from the maps, never written."""

from __future__ import annotations

from collections.abc import Iterator

from dsrlb.engines.xdp import reading, remembered
from dsrlb.engines.xdp.install import Tables
from dsrlb.engines.xdp.rings import Rings
from dsrlb.engines.xdp.translations import translation_of_flow, translation_of_reply
from dsrlb.flows import TIMEOUT_S, BackendCount, Flow, FlowState, FlowTable
from dsrlb.fragments import FragmentTable
from dsrlb.persistence import TemplateTable
from dsrlb.table import EMPTY
from dsrlb.wire.packet import Arrival


class Flows(FlowTable):
    """Flows on record in the program's map.  ``table``: of the frame that is being looked at."""

    def __init__(self, tables: Tables) -> None:
        super().__init__()
        self.table = EMPTY
        self._tables = tables
        self.get = self._read  # type: ignore[assignment]  # there a dictionary's own, for speed
        self.replies = Replies(self)  # type: ignore[assignment]  # there a dictionary
        self.ports = Rings(tables.loaded)  # type: ignore[assignment]  # ports are the program's to take

    def _read(self, key: bytes) -> Flow | None:
        record = reading.flow(self._tables, key)
        if record is None:
            return None
        service = self.table.services.get(record.service)
        timeouts_s = service.timeouts_s if service is not None else TIMEOUT_S
        state = min(
            record.state, FlowState.ESTABLISHED
        )  # if the packet began it anew, the program has done so
        seen_s = record.until_s - timeouts_s[state]
        flow = Flow(record.backend, state, seen_s, BackendCount(), timeouts_s)
        flow.translation = translation_of_flow(self._tables.loaded, key, record)
        return flow

    def of_reply(self, reply_key: bytes) -> Flow | None:
        """Return the flow that has this second name."""
        translation = translation_of_reply(self._tables.loaded, reply_key)
        flow = self._read(translation.key) if translation is not None else None
        return flow if flow is not None and flow.translation == translation else None

    def has_room(self, key: bytes) -> bool:
        """Say no: records are the program's to make."""
        return False

    def forget(self, key: bytes) -> None:
        """Do nothing: the program has, or will."""


class Replies:
    """Flows on record by their second names."""

    def __init__(self, flows: Flows) -> None:
        self.get = flows.of_reply


class Templates(TemplateTable):
    """Clients' servers, from the program's map."""

    def __init__(self, tables: Tables) -> None:
        super().__init__()
        self._tables = tables

    def backend(self, key: bytes, now_s: int) -> bytes | None:
        """Return the backend of a client, if it has one."""
        template = remembered.template(self._tables, key)
        return template.backend if template is not None and now_s <= template.until_s else None

    def keep(self, key: bytes, backend: bytes, until_s: int) -> None:
        """Do nothing: the program has."""


class Datagrams(FragmentTable):
    """Datagrams in pieces: where first ones went is in the program's map, early later ones are held here."""

    def __init__(self, tables: Tables, name: str = "fragments") -> None:
        """``name``: of the map; of servers' datagrams it is "reply_fragments"."""
        super().__init__()
        self._tables, self._name = tables, name

    def owner(self, key: bytes, now_s: int) -> tuple[bytes, bytes] | None:
        """Return whose the datagram's first piece was, if it has been seen: two keys, as in ``Datagram``."""
        known = remembered.datagram(self._tables, self._name, key)
        if known is None:
            return super().owner(key, now_s)
        return known.owner if now_s <= known.until_s else None

    def due(self, now_s: int) -> Iterator[Arrival]:
        """Yield the pieces that are held no longer, since their first one has come."""
        waiting = [key for key, datagram in self._datagrams.items() if datagram.held]
        for key in waiting:
            if self.owner(key, now_s) is not None:
                yield from self._release(self._datagrams.pop(key))

"""Hash: a client's address picks the backend, so that a client stays with one; the table is Maglev's."""

from __future__ import annotations

from dsrlb.schedulers.base import Cursor, Scheduler
from dsrlb.schedulers.shares import consistent_slots

HASH = Scheduler("hash", "by the client's address", Cursor.CLIENT_HASH, consistent_slots)

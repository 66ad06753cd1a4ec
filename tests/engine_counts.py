"""What an engine has counted, for the tests of totals."""

from __future__ import annotations

from dsrlb.engines.base import Counters
from dsrlb.flows import BackendCount
from dsrlb.model import Reason

A, B = (b"service", b"a"), (b"service", b"b")
MAPS, OTHER_MAPS = "boot 7", "boot 8"


def counted(forwarded: int = 0, ends: int = 0, held: int = 0, **sent: int) -> Counters:
    """Return what an engine says: frames forwarded, and packets of backends ``a`` and ``b``."""
    reasons = [0] * len(Reason)
    reasons[Reason.FORWARDED], reasons[Reason.FRAGMENT_HELD] = forwarded, held
    backends = {(b"service", name.encode()): BackendCount(n, 60 * n, n, 1, 2) for name, n in sent.items()}
    return Counters(reasons, backends, 0, 0, {A: BackendCount(ends, 60 * ends, ends)} if ends else {})

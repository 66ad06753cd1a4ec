"""Whether this process may do what serving needs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dsrlb.errors import HostError

# linux/capability.h
CAPABILITIES = {"CAP_NET_ADMIN": 12, "CAP_NET_RAW": 13}
# The verifier lets nobody without CAP_PERFMON subtract pointers.  CAP_SYS_ADMIN (21) has both of them in it.
BPF_CAPABILITIES = {"CAP_PERFMON": 38, "CAP_BPF": 39}
_CAP_SYS_ADMIN = 21


def require_network(doing: str) -> None:
    """Raise HostError unless this process may open packet sockets and change rules and neighbours."""
    _require_none(doing, missing())


def require_bpf(doing: str) -> None:
    """Raise HostError unless this process may load programs as well, and keep their maps."""
    _require_none(doing, missing(bpf=True))


def missing(process: int | None = None, *, bpf: bool = False) -> list[str]:
    """Return what a process (None: this one) may not do of what serving takes; ``bpf``: by engine xdp.

    Raises OSError where there is no such process.
    """
    effective = _effective(process)
    needs_more = bpf and not effective >> _CAP_SYS_ADMIN & 1
    needed = CAPABILITIES | BPF_CAPABILITIES if needs_more else CAPABILITIES
    return [name for name, bit in needed.items() if not effective >> bit & 1]


def _require_none(doing: str, lacking: Sequence[str]) -> None:
    if lacking:
        raise HostError(f"{doing} needs root (missing here: {' and '.join(lacking)}); run it with sudo")


def _effective(process: int | None = None) -> int:
    status = Path("/proc", str(process or "self"), "status").read_text(encoding="ascii")
    return int(next((line.split()[1] for line in status.splitlines() if line.startswith("CapEff:")), "0"), 16)

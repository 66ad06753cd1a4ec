"""Whether this process may do what serving needs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from dsrlb.errors import HostError

# linux/capability.h
CAPABILITIES = {"CAP_NET_ADMIN": 12, "CAP_NET_RAW": 13}
# The verifier lets nobody without CAP_PERFMON subtract pointers.  CAP_SYS_ADMIN (21) has both of them in it.
BPF_CAPABILITIES = {"CAP_PERFMON": 38, "CAP_BPF": 39}
_CAP_SYS_ADMIN = 21


def require_network(doing: str) -> None:
    """Raise HostError unless this process may open packet sockets and change rules and neighbours."""
    _require(doing, CAPABILITIES)


def require_bpf(doing: str) -> None:
    """Raise HostError unless this process may load programs as well, and keep their maps."""
    has_all = _effective() >> _CAP_SYS_ADMIN & 1
    _require(doing, CAPABILITIES if has_all else CAPABILITIES | BPF_CAPABILITIES)


def missing(process: int | None = None, *, bpf: bool = False) -> list[str]:
    """Return what a process (None: this one) may not do of what serving takes; ``bpf``: by engine xdp.

    Raises OSError where there is no such process.
    """
    effective = _effective(process)
    needs_more = bpf and not effective >> _CAP_SYS_ADMIN & 1
    return _lacking(effective, CAPABILITIES | BPF_CAPABILITIES if needs_more else CAPABILITIES)


def _require(doing: str, capabilities: Mapping[str, int]) -> None:
    lacking = _lacking(_effective(), capabilities)
    if lacking:
        raise HostError(f"{doing} needs root (missing here: {' and '.join(lacking)}); run it with sudo")


def _lacking(effective: int, capabilities: Mapping[str, int]) -> list[str]:
    return [name for name, bit in capabilities.items() if not effective >> bit & 1]


def _effective(process: int | None = None) -> int:
    status = Path("/proc", str(process or "self"), "status").read_text(encoding="ascii")
    return int(next((line.split()[1] for line in status.splitlines() if line.startswith("CapEff:")), "0"), 16)

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


def _require(doing: str, capabilities: Mapping[str, int]) -> None:
    effective = _effective()
    missing = [name for name, bit in capabilities.items() if not effective >> bit & 1]
    if missing:
        raise HostError(f"{doing} needs root (missing here: {' and '.join(missing)}); run it with sudo")


def _effective() -> int:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(next((line.split()[1] for line in status.splitlines() if line.startswith("CapEff:")), "0"), 16)

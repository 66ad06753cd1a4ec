"""Whether this process may do what serving needs."""

from __future__ import annotations

from pathlib import Path

from dsrlb.errors import HostError

# linux/capability.h
CAPABILITIES = {"CAP_NET_ADMIN": 12, "CAP_NET_RAW": 13}


def require_network(doing: str) -> None:
    """Raise HostError unless this process may open packet sockets and change rules and neighbours."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    effective = next((line.split()[1] for line in status.splitlines() if line.startswith("CapEff:")), "0")
    missing = [name for name, bit in CAPABILITIES.items() if not int(effective, 16) >> bit & 1]
    if missing:
        raise HostError(f"{doing} needs root (missing here: {' and '.join(missing)}); run it with sudo")

"""Whether this host takes the answers that servers send from a VIP to its own address.

*Source*: Linux Documentation/networking/ip-sysctl.rst, rp_filter: the greater of ``all`` and the
interface's holds; 1 drops what comes in by another interface than an answer would leave by.  IPv6 has none.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from dsrlb.errors import DsrlbError
from dsrlb.host.links import Link
from dsrlb.host.neighbours import routes_to
from dsrlb.model import Address

STRICT = 1


def why_dropped(vip: Address, link: Link) -> str | None:
    """Return why answers from a VIP that come in by an interface are dropped; None if they are not."""
    if vip.version == 6 or max(_rp_filter("all"), _rp_filter(link.name)) != STRICT:
        return None
    with suppress(DsrlbError, OSError):
        route = routes_to([vip])[vip]
        if route is not None and route.ifindex == link.ifindex:
            return None
    return (
        f"net.ipv4.conf.{link.name}.rp_filter (or that of all) is 1, and this host's route to the VIP leaves "
        "by another interface; set it to 2"
    )


def _rp_filter(scope: str) -> int:
    try:
        return int(Path(f"/proc/sys/net/ipv4/conf/{scope}/rp_filter").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return 0

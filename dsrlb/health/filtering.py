"""A look at this host's packet filter: whether it drops what connection tracking takes for invalid."""

from __future__ import annotations

import asyncio
import logging

from dsrlb.errors import HostError
from dsrlb.health.remarks import About, Remark, Remarks
from dsrlb.host.firewall import killers

LOOK_EVERY_S, COSTS_AT_MOST = 5.0, 0.01  # of the time of a processor: rules may be many
WORD = "conntrack_invalid"

log = logging.getLogger("dsrlb")


async def look_for_ever(remarks: Remarks) -> None:
    """Remark it for as long as it is so."""
    now = asyncio.get_running_loop().time
    while True:
        began = now()
        try:
            found = await asyncio.to_thread(killers)
        except (HostError, OSError, ValueError) as error:
            log.debug("a look at the packet filter: %s", error)
            found = []
        if found:
            remarks.say(About(), of_rule(found[0].hooks, found[0].removed_by))
        else:
            remarks.take_back(About(), WORD)
        await asyncio.sleep(max(LOOK_EVERY_S, (now() - began) / COSTS_AT_MOST))


def of_rule(hooks: tuple[str, ...], removed_by: str) -> Remark:
    """Return what is to be said of such a rule."""
    return Remark(
        WORD,
        f"a rule of this host ({', '.join(hooks)}) drops what connection tracking takes for invalid, such as "
        f"half connections that the host itself forwards; {removed_by}",
    )

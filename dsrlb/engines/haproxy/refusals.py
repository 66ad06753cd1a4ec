"""How often HAProxy has refused what is over a limit, or with shadow would have, by reason.

Its table begins anew with each reload, so what it had said before is kept beside it::

    total  =  base (of the tables of before)  +  last (what the table says now)

*Source*: HAProxy 2.6 management guide, section 9.3 (show table).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from dsrlb.engines.haproxy.names import proxy_name
from dsrlb.model import Service
from dsrlb.proxying import NO_PROXY

REASONS = (
    "denied",
    "too_many_new_connections",
    "too_many_connections",
    "too_many_requests",
    "head_too_large",
    "body_too_large",
    "body_of_unknown_length",
    "queue_full",
)
"""Each at its place in the table, so new ones come at the end."""

Refusal = tuple[str, str, bool]  # service, reason, whether it was only counted

_TABLE = re.compile(r"# table: (\S+), type:")
_COUNT = re.compile(r"\bgpc\(?(\d+)\)?=(\d+)")


def refused_table(name: str) -> str:
    """Return the name of the table in which the refusals of a service are counted."""
    return f"{name}::limits:refused"


def clients_table(name: str) -> str:
    """Return the name of the table in which its clients are."""
    return f"{name}::limits:clients"


def requests_table(name: str) -> str:
    """Return the name of the table in which clients' requests are that are told of by proxies."""
    return f"{name}::limits:requests"


def commands(services: Sequence[Service]) -> list[str]:
    """Return what to ask the runtime API; nothing, if no service has limits."""
    limited = [one for one in services if one.proxy is not None and one.proxy.limits.refuses]
    return [f"show table {refused_table(proxy_name(service))}" for service in limited]


def read(said: str) -> dict[str, dict[str, int]]:
    """Return the counts by table and reason."""
    found: dict[str, dict[str, int]] = {}
    counts: dict[str, int] = {}
    for line in said.splitlines():
        if heading := _TABLE.match(line):
            counts = found[heading[1]] = {}
        places = {int(place): int(count) for place, count in _COUNT.findall(line)}
        counts |= {reason: places[place] for place, reason in enumerate(REASONS) if place in places}
    return found


class Refusals:
    """Totals that do not go backwards while this process lives."""

    def __init__(self) -> None:
        self._base: dict[Refusal, int] = {}
        self._last: dict[Refusal, int] = {}

    def note(self, services: Sequence[Service], said: str) -> None:
        """Take down what HAProxy says now."""
        tables = read(said)
        for service in services:
            is_shadow = (service.proxy or NO_PROXY).limits.shadow
            for reason, count in tables.get(refused_table(proxy_name(service)), {}).items():
                self._last[service.name, reason, is_shadow] = count

    def begin_anew(self) -> None:
        """Take it that its tables are empty again."""
        self._base, self._last = self.totals(), {}

    def totals(self) -> dict[Refusal, int]:
        """Return what was refused."""
        every = self._base.keys() | self._last.keys()
        return {
            one: total for one in sorted(every) if (total := self._base.get(one, 0) + self._last.get(one, 0))
        }

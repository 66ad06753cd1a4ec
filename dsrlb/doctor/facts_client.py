"""What becomes of connections to the VIPs from a client's side, by ``client.sh`` there.

::

    tool python3                                      what connects: python3, bash, nc or none
    way 198.18.1.100 198.18.1.100 via … src …         ip -o route get
    try 198.18.1.100 80 ok                            ok, refused, silent or unreachable
    end
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path

from dsrlb.doctor.saying import said_whole
from dsrlb.host.via import WITHIN_S, Via
from dsrlb.model import ANY_PORT, Address, Service

SCRIPT = Path(__file__).with_name("client.sh")
MOST_TRIES, TRIES_A_SERVER, MOST_SERVICES, FAILING_S = 40, 4, 20, 10.0
Place = tuple[Address, int]


@dataclass(frozen=True)
class ClientFacts:
    """A client's side."""

    tool: str
    sources: Mapping[int, Address] = field(default_factory=dict)  # by IP version: whom servers answer
    tried: Mapping[Place, Counter[str]] = field(default_factory=dict)


def places_of(services: Sequence[Service]) -> list[Place]:
    """Return where clients connect to by TCP, as far as a port says."""
    named = (one for one in services if one.protocol == "tcp" and one.port != ANY_PORT)
    return list(dict.fromkeys((one.vip, one.port) for one in named))[:MOST_SERVICES]


async def client_facts(via: Via, places: Sequence[Place], servers: int) -> ClientFacts:
    """Return what a client's side sees, with some tries for each server.  Raises HostError."""
    tries = min(MOST_TRIES, TRIES_A_SERVER * servers)
    words = [str(tries), *(str(word) for place in places for word in place)]
    within_s = WITHIN_S + FAILING_S * len(places)
    said = await said_whole(via, SCRIPT, words, "how the VIPs are to be reached", within_s)
    return client_in(said.out)


def client_in(text: str) -> ClientFacts:
    """Return the facts in what the script said.  Lines that nobody could read are left out."""
    tool = "none"
    sources: dict[int, Address] = {}
    tried: dict[Place, Counter[str]] = {}
    for line in text.splitlines():
        word, *rest = line.split(maxsplit=4) or [""]
        with suppress(ValueError, IndexError):
            if word == "tool":
                tool = rest[0]
            elif word == "way" and (match := re.search(r" src (\S+)", line)):
                source = ip_address(match[1])
                sources.setdefault(source.version, source)
            elif word == "try":
                place = ip_address(rest[0]), int(rest[1])
                tried.setdefault(place, Counter())[rest[2]] += 1
    return ClientFacts(tool, sources, tried)

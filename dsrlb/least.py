"""Least connection: which of a service's backends has the least to do.

The load of a backend is IPVS's: an active connection weighs as much as 256 inactive ones::

    load = active * 256 + inactive          lighter: load / share, compared without division

Every backend is looked at if they are few; of many, those that a few hashes of the flow point at
(the power of some choices: Mitzenmacher, 1996).  Where loads are equal the backend behind the last
one picked is first, so that idle backends are taken in turn.

A *newcomer*, a backend that joins while others are at work, has few connections and would be given
every new one until it has caught up.  So its turns are kept apart: for a share of s out of a sum S,
one turn in 2 S / 3 s picks of the service, which is its fair share and half as much again, until it
is as loaded as the lightest of the others.  Whose turn has come is told by a due time, counted in
picks, as a leaky bucket's (the generic cell rate algorithm): whole numbers, no loop, no clock.

*Source*: include/net/ip_vs.h, ``ip_vs_dest_conn_overhead``; net/netfilter/ipvs/ip_vs_lc.c, ip_vs_wlc.c;
ITU-T I.371, virtual scheduling algorithm.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from dsrlb.flows import BackendCount

EXACT_MOST = 64  # backends: so many are all looked at
PICK = 256  # one pick of the service, on the scale of due times

_ODD = (0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D, 0x27D4EB2F)  # one for each backend looked at among many
_M32 = 0xFFFF_FFFF


@dataclass(slots=True)
class Race:
    """What picking the least loaded backend remembers of one service; backends by their place in it."""

    entry: object = None  # what the race was last prepared for
    names: tuple[bytes, ...] = ()
    shares: tuple[int, ...] = ()  # 0: gets no new flows
    counts: tuple[BackendCount, ...] = ()
    running: tuple[int, ...] = ()  # places of those with a share
    total: int = 0  # of shares
    first: int = 0  # which of ``running`` is looked at first
    now: int = 0  # PICK for each pick so far
    due: dict[int, int] = field(default_factory=dict)  # of newcomers: when each may be picked next


def prepare(
    race: Race,
    entry: object,
    names: tuple[bytes, ...],
    shares: tuple[int, ...],
    counts: tuple[BackendCount, ...],
) -> None:
    """Take over a service's backends as they are now; who was not running before is a newcomer."""
    before = {race.names[place] for place in race.running}
    due = {race.names[place]: due for place, due in race.due.items()}
    race.entry, race.names, race.shares, race.counts = entry, names, shares, counts
    race.running = tuple(place for place, share in enumerate(shares) if share)
    race.total = sum(shares)
    race.due = {
        place: due.get(names[place], race.now)
        for place in race.running
        if before and (names[place] in due or names[place] not in before)
    }


def pick_least(race: Race, slots: Sequence[int], hashed: int) -> int:
    """Return the place of the backend that a new flow goes to; some backend has a share.

    ``hashed`` is the flow's 32-bit hash: with the slots it says whom to look at among many.
    """
    race.now += PICK
    running = race.running
    if len(running) > EXACT_MOST:
        return _pick_among(race, [slots[(hashed * odd & _M32) * len(slots) >> 32] for odd in _ODD])
    first = race.first % len(running)
    best = _pick_among(race, running[first:] + running[:first])
    race.first = running.index(best) + 1
    return best


def _pick_among(race: Race, places: Sequence[int]) -> int:
    """Return the lightest of these places, newcomers only when it is their turn."""
    if not race.due:
        return lightest(race, places)
    settled = lightest(race, (place for place in places if place not in race.due))
    if settled < 0:  # newcomers among themselves
        return lightest(race, places)
    for place in places:
        if place in race.due and lightest(race, (settled, place)) == settled:
            del race.due[place]  # it has caught up
    best = lightest(race, (place for place in places if race.due.get(place, 0) <= race.now))
    if best in race.due:
        every = PICK * 2 * race.total // (3 * race.shares[best])
        race.due[best] = max(race.due[best], race.now - PICK) + every
    return best


def lightest(race: Race, places: Iterable[int]) -> int:
    """Return the place with the least load for its share, the first of equals; -1 if there is none."""
    best, best_load, best_share = -1, 0, 1
    for place in places:
        count, share = race.counts[place], race.shares[place]
        load = count.active * 256 + count.inactive
        if best < 0 or load * best_share < best_load * share:
            best, best_load, best_share = place, load, share
    return best

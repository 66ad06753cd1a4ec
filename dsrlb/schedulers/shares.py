"""How slots are shared out: how many each backend gets, and which ones stay its own when others go.

``apportion`` answers how many.  ``consistent_slots`` answers which, by Maglev hashing
(Eisenbud et al., NSDI 2016, section 3.4): every backend has a permutation of all slots of its
own, and the backends take turns, each taking the next slot of its permutation that is still free.

The turns are a serial story.  ``populate`` gives the very same table in less time::

    turn  0                                            size - TAIL_TURNS      size
          +---------+---------+---------+-- ... -------+----------------------+
          | round   | round   | round   |              | tail                 |
          +---------+---------+---------+-- ... -------+----------------------+

A *round* is a run of turns of as many backends.  All of them claim the slot they want at the same
time; a slot goes to the earliest turn that claims it, even from a later one that had it already;
the losers look further along their permutations.  A turn ends up with the first slot that no
earlier turn took, as in the serial story.  (Serial dictatorship is deferred acceptance in which
all slots prefer alike: Gale and Shapley, 1962.)  Few backends make short rounds, for which a plain
loop is faster.  The *tail* would look through most of a permutation for each of the last free
slots; it asks instead where each free slot stands in each permutation.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from dsrlb.errors import ConfigError
from dsrlb.schedulers.base import Slots

Ints = NDArray[np.int64]
Unsigned = NDArray[np.unsignedinteger]  # overflow-free sums at the least width: faster division
Turns = NDArray[np.int32]  # per slot: the turn that took it; the number of slots where it is free

TABLE_SLOTS = 65537  # prime, as the paper's small table; 65 slots a backend for 1000 backends
MAX_BACKENDS = 65535  # a slot is 16 bits wide

# Every balancer of every site must build the same table: changing this key moves every flow.
PERMUTATION_KEY = b"dsrlb permutation 1"

# Speed only, the table is the same; measured for 65537 slots.
TAIL_TURNS = 384
ROUND_TURNS = 250  # shorter rounds are left to the plain loop
_PROBES = 16384  # permutation entries looked at in one go


def live_backends(weights: Sequence[int], slots: int = MAX_BACKENDS) -> list[int]:
    """Return the indices of the backends with a weight above 0.

    Raises ``ConfigError`` when there are more backends than slots, or than a slot can name.
    """
    live = [index for index, weight in enumerate(weights) if weight > 0]
    most = min(slots, MAX_BACKENDS)
    if len(weights) > MAX_BACKENDS or len(live) > most:
        raise ConfigError(f"the service has {len(weights)} backends and at most {most} fit: split it up")
    return live


def apportion(weights: Sequence[int], total: int) -> list[int]:
    """Share ``total`` out by weight: the result adds up to it, each share within one of its ideal.

    Largest remainder, the earlier one first when equal.  ``weights`` are above 0 and at most ``total``
    in number.  None goes empty: a weight worth less than 1 gets 1, and the others share the rest.
    """
    shares = [1] * len(weights)
    large = list(range(len(weights)))
    while True:
        left, weight_sum = total - len(weights) + len(large), sum(weights[i] for i in large)
        still_large = [i for i in large if weights[i] * left >= weight_sum]
        if len(still_large) == len(large):
            break
        large = still_large
    for i in large:
        shares[i] = weights[i] * left // weight_sum
    by_remainder = sorted(large, key=lambda i: -(weights[i] * left % weight_sum))
    for i in by_remainder[: total - sum(shares)]:
        shares[i] += 1
    return shares


def turn_order(weights: Sequence[int], size: int) -> Slots:
    """Return who takes each of ``size`` turns: the heaviest in every round, others in proportion.

    The k-th turn (from 0) of a backend comes in round k * heaviest / weight, rounded down; so with equal
    weights everyone is in every round, in order, as in the paper.  Nobody has more turns than its share
    (``apportion``): the rounding of many light ones is not at the cost of a heavy one.
    """
    backends = np.arange(len(weights), dtype=np.uint16)
    if len(set(weights)) == 1:
        return np.resize(backends, size)
    shares = np.array(apportion(weights, size), np.int64)
    who = np.repeat(backends, shares)
    nth = np.arange(size) - np.repeat(np.cumsum(shares) - shares, shares)
    rounds = np.floor(nth * np.array([max(weights) / weight for weight in weights])[who])
    return who[np.argsort(rounds, kind="stable")]


def permutations(identities: Sequence[bytes], size: int) -> tuple[Ints, Ints]:
    """Return offset and skip of every identity: its k-th choice is slot (offset + k * skip) % size.

    ::

        blake2b(identity, key = PERMUTATION_KEY), 16 bytes, big endian
        0                        8                       16
        +------------------------+------------------------+
        | offset = % size        | skip = % (size-1) + 1  |
        +------------------------+------------------------+
    """
    digests = (blake2b(identity, digest_size=16, key=PERMUTATION_KEY).digest() for identity in identities)
    words = np.frombuffer(b"".join(digests), ">u8").reshape(-1, 2)
    return (words[:, 0] % size).astype(np.int64), (words[:, 1] % (size - 1) + 1).astype(np.int64)


def consistent_slots(identities: Sequence[bytes], weights: Sequence[int], size: int = TABLE_SLOTS) -> Slots:
    """Compile a Maglev table: the same on every machine, whatever the order of the arguments.

    Each backend gets its share within one slot, and few slots change hands when backends come or go.
    ``size`` is prime.  Raises ``ConfigError`` when there are more backends than slots.
    """
    live = sorted(live_backends(weights, size), key=lambda index: identities[index])
    if not live:
        return np.empty(0, np.uint16)
    offsets, skips = permutations([identities[index] for index in live], size)
    order = turn_order([weights[index] for index in live], size)
    return np.array(live, np.uint16)[populate(offsets, skips, order)]


def populate(
    offsets: Sequence[int] | Ints,
    skips: Sequence[int] | Ints,
    order: Sequence[int] | Slots,
    tail_turns: int = TAIL_TURNS,
    round_turns: int = ROUND_TURNS,
) -> Slots:
    """Fill a table as the paper's loop does: at turn t, ``order[t]`` takes the free slot it prefers.

    Returns the owner of each of ``len(order)`` slots; the last two arguments change the speed alone.
    Raises ``ValueError`` when a skip shares a factor with the number of slots, and so misses some.

    *Source*: NSDI 2016, Maglev, section 3.4, pseudocode 1.
    """
    size, offset, skip, who = len(order), np.array(offsets), np.array(skips), np.array(order, np.uint16)
    if np.any(np.gcd(skip, size) != 1):
        raise ValueError(f"every skip must be coprime to the {size} slots")
    head = who[: max(size - tail_turns, 0)]
    if len(head) > 0 and round_turns * np.bincount(head).max() <= len(head):
        taken = _fill_by_rounds(offset, skip, head, size)
    else:
        taken = _fill_by_turns(offset, skip, head, size)
    _fill_tail(offset, skip, who[len(head) :], taken)
    return who[taken]


def _fill_by_turns(offset: Ints, skip: Ints, order: Slots, size: int) -> Turns:
    """Tell the serial story: one turn after another."""
    taken, at, steps = [size] * size, offset.tolist(), skip.tolist()
    for turn, backend in enumerate(order.tolist()):
        slot, step = at[backend], steps[backend]
        while taken[slot] < size:
            slot = (slot + step) % size
        taken[slot] = turn
        at[backend] = slot
    return np.array(taken, np.int32)


def _rounds(order: Slots) -> Iterator[tuple[int, int]]:
    """Cut the turns into runs, as long as can be, in which nobody comes twice."""
    by_backend = np.argsort(order, kind="stable")
    again = order[by_backend[1:]] == order[by_backend[:-1]]
    previous = np.full(len(order), -1)
    previous[by_backend[1:][again]] = by_backend[:-1][again]
    latest_previous = np.maximum.accumulate(previous)
    begin = 0
    while begin < len(order):
        end = int(np.searchsorted(latest_previous, begin))
        yield begin, end
        begin = end


def _fill_by_rounds(offset: Ints, skip: Ints, order: Slots, size: int) -> Turns:
    """Let all backends of a round claim at once, and the losers look further, until there are none."""
    unsigned = np.uint32 if (_PROBES + 1) * size < 1 << 32 else np.uint64
    at, step = offset.astype(unsigned), skip.astype(unsigned)
    taken = np.full(size, size, np.int32)
    for begin, end in _rounds(order):
        who, turn = order[begin:end], np.arange(begin, end, dtype=np.int32)
        slot, looking, tries = at[who], np.arange(end - begin), 2
        while len(looking):
            width = 1 + min(_PROBES // len(looking) or 1, tries * size // (size - begin))
            claim = _look_further(taken, slot[looking], step[who[looking]], turn[looking], width)
            slot[looking] = claim
            _write_minimum(taken, claim, turn[looking])
            looking, tries = np.flatnonzero(taken.take(slot) != turn), 4
        at[who] = slot
    return taken


def _look_further(taken: Turns, slot: Unsigned, step: Unsigned, turn: Turns, width: int) -> Unsigned:
    """Return for each turn the first of ``width`` slots that no earlier turn has, or the last of them."""
    size = slot.dtype.type(len(taken))
    slots = np.multiply.outer(step, np.arange(width, dtype=slot.dtype))
    slots += slot[:, None]
    slots -= slots // size * size  # NumPy divides by a constant far faster than it takes a remainder
    open_to_it = taken.take(slots) > turn[:, None]
    open_to_it[:, -1] = True
    chosen = open_to_it.argmax(axis=1) + np.arange(0, slots.size, width)
    found: Unsigned = slots.ravel().take(chosen)
    return found


def _write_minimum(target: Turns, index: Unsigned, value: Turns) -> None:
    """Lower the target at each index to the least of its values, as a faster ``np.minimum.at``."""
    lower = np.flatnonzero(value < target[index])
    while len(lower):
        index, value = index[lower], value[lower]
        target[index] = value
        lower = np.flatnonzero(value < target[index])


def _fill_tail(offset: Ints, skip: Ints, order: Slots, taken: Turns) -> None:
    """Give out the last slots turn by turn, each by the least position in its backend's permutation."""
    size, slots = len(taken), np.flatnonzero(taken == len(taken))
    backends, rows = np.unique(order, return_inverse=True)
    inverse = np.array([pow(step, -1, size) for step in skip[backends].tolist()], np.int64)
    position = ((slots - offset[backends][:, None]) * inverse[:, None] % size).astype(np.int32)
    chosen = []
    for row in rows.tolist():
        column = int(position[row].argmin())
        position[:, column] = size
        chosen.append(column)
    taken[slots[chosen]] = np.arange(size - len(order), size)

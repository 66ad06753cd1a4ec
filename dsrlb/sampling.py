"""Handshakes, looked at from the client's side: how long they take at each backend, and how many fail.

The balancer of a DSR mode sees a client's SYN, then nothing, then the client's ACK: the time between is the
server's answer and the way of it to the client and back.  A SYN that comes again, or that nothing follows,
is a server that did not answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

BUCKETS = 64  # of times


class Handshakes(NamedTuple):
    """What was seen of the handshakes with one backend of one service, since the counters began."""

    opened: int  # connections that were looked at
    answered: int  # of those, how many their client went on with
    again: int  # ... had their SYN sent again before that
    reset: int  # ... were reset before that, by either side as far as it is seen
    silent: int  # ... were given up: nothing came any more
    times: Sequence[int]  # of those answered at once: how many took how long, by bucket
    waiting_us: Sequence[int]  # how long those have waited that are open now and were sent once

"""What every scheduler is: a compiler from weights to slots, and the cursor that reads them.

A *slot* holds the index of a backend.  The data path picks a slot by a *cursor*: a hash (of the
flow or of the client), a *counter* (the next one, in turn), or the *least* load (live counts of
connections).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

Slots = NDArray[np.uint16]


class Cursor(Enum):
    """How the data path picks a slot."""

    FLOW_HASH = "flow-hash"  # hash of source, destination, ports, protocol
    CLIENT_HASH = "client-hash"  # hash of the source address alone
    COUNTER = "counter"  # one after the other
    LEAST = "least"  # the backend with the fewest connections for its share; by flow hash what has no record


@dataclass(frozen=True)
class Scheduler:
    """A balancing method.

    ``compile(identities, weights)`` returns the slots: an array of indices into its arguments.
    ``identities`` are the backends' 16-byte addresses, ``weights`` whole numbers >= 0; a backend
    of weight 0 gets no slot; no slots at all when every weight is 0.  Pure; for hash cursors the
    *identity* found in slot i does not depend on the order of the arguments.
    """

    name: str
    summary: str
    cursor: Cursor
    compile: Callable[[Sequence[bytes], Sequence[int]], Slots]
    weighted: bool = True  # False: a weight above 0 is as good as any other

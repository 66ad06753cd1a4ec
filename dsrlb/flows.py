"""The flow table: which backend a flow belongs to, for as long as it lives.

The balancer of a DSR mode sees one direction only, from client to server, so a connection's
state is what the client's own packets say of it.  Time-outs are IPVS's.

*Source*: net/netfilter/ipvs/ip_vs_proto_tcp.c (``tcp_timeouts``, ``tcp_states`` table for
input only), ip_vs_proto_udp.c (``udp_timeouts``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import IntEnum

from dsrlb.model import Hop
from dsrlb.ports import SourcePorts
from dsrlb.wire.l4 import ACK, FIN, RST, SYN

DEFAULT_MAX_FLOWS = 262_144  # about 350 bytes each
SWEEP_FLOWS = 20_000  # looked at per call of expire(): a few milliseconds


class FlowState(IntEnum):
    """How far a flow has come, as seen from the client's side alone."""

    UDP = 0
    SYN_RECEIVED = 1
    ESTABLISHED = 2
    FIN_WAIT = 3
    CLOSED = 4


TIMEOUT_S = {
    FlowState.UDP: 300,
    FlowState.SYN_RECEIVED: 60,
    FlowState.ESTABLISHED: 900,
    FlowState.FIN_WAIT: 120,
    FlowState.CLOSED: 10,
}
_TIMEOUTS = tuple(TIMEOUT_S[state] for state in FlowState)
_UDP, _SYN, _ESTABLISHED, _FIN, _CLOSED = map(int, FlowState)


@dataclass(slots=True)
class BackendCount:
    """What one backend of one service was sent."""

    packets: int = 0
    octets: int = 0
    flows: int = 0


@dataclass(slots=True)
class Route:
    """How packets get to one backend of one service, as worked out under one edition of the table."""

    edition: object
    hop: Hop
    rewrite: Callable[[bytes, Hop], bytes]
    most_bytes: int  # total length of the longest packet that this way takes
    count: BackendCount


@dataclass(slots=True)
class Translation:
    """The two names of a flow whose addresses are translated, and the way back to its client.

    ``key`` names the flow as the client's packets do, ``reply_key`` as the server's do: source and
    destination change places, and each is the translated one.  All that a rewritten packet needs stands
    in these two (``wire/l4.py`` shows a key's bytes).
    """

    key: bytes
    reply_key: bytes
    back_ifindex: int
    back_link: bytes  # link header towards the client: the one its last packet came with, turned round
    has_port: bool = False  # the client's port was replaced by one of ``FlowTable.ports``


class Flow:
    """A flow's record: its backend, its state, when it was last seen (whole seconds)."""

    __slots__ = ("backend", "route", "seen_s", "state", "translation")

    def __init__(self, backend: bytes, state: int, seen_s: int) -> None:
        self.backend = backend
        self.state = state
        self.seen_s = seen_s
        self.route: Route | None = None
        self.translation: Translation | None = None

    def is_over(self, now_s: int) -> bool:
        """Return whether the flow has been silent for longer than its state allows."""
        return now_s - self.seen_s > _TIMEOUTS[self.state]


def first_state(flags: int | None) -> int:
    """Return the state of a flow whose first packet seen has these TCP flags (None: UDP).

    One that is under way begins in the state of one that opens: a second packet proves it, so a flood
    of single packets fills the table for a minute at most.
    """
    if flags is None:
        return _UDP
    return next_state(_SYN, flags & ~ACK)


def next_state(state: int, flags: int) -> int:
    """Return the state after a packet from the client with these TCP flags."""
    if flags & RST:
        return _CLOSED
    if state == _CLOSED and flags & (ACK | FIN) == ACK:  # the reset was forged or late: probation
        return _SYN
    if state >= _FIN:
        return state
    if flags & FIN:
        return _FIN
    return _ESTABLISHED if state == _SYN and flags & ACK else state


def begins_anew(state: int, flags: int) -> bool:
    """Return whether a SYN opens a new connection over one that has ended (the port is used again)."""
    return state >= _FIN and flags & (SYN | ACK) == SYN


class FlowTable:
    """Flow keys to records, in bounded memory.  ``now_s`` is always an argument."""

    def __init__(self, max_flows: int = DEFAULT_MAX_FLOWS) -> None:
        self.max_flows = max_flows
        self.refused = 0  # packets that found the table full and went on without a record
        self._flows: dict[bytes, Flow] = {}
        self._sweep: Iterator[bytes] = iter(())
        self.get = self._flows.get
        self.replies: dict[bytes, Flow] = {}  # translated flows by the name that their server's packets have
        self.ports = SourcePorts()

    def __len__(self) -> int:
        return len(self._flows)

    def __iter__(self) -> Iterator[tuple[bytes, Flow]]:
        return iter(list(self._flows.items()))

    def insert(self, key: bytes, backend: bytes, state: int, now_s: int) -> bool:
        """Record a flow; return whether there was room for it."""
        if len(self._flows) >= self.max_flows and key not in self._flows:
            self.refused += 1
            return False
        before = self._flows.get(key)
        if before is not None:
            self._end(before)
        self._flows[key] = Flow(backend, state, now_s)
        return True

    def translate(self, flow: Flow, translation: Translation) -> None:
        """Give a recorded flow its second name, which no other flow may have."""
        flow.translation = translation
        self.replies[translation.reply_key] = flow

    def _end(self, flow: Flow) -> None:
        """Give back what a flow holds beside its own record."""
        translation = flow.translation
        if translation is not None:
            del self.replies[translation.reply_key]
            if translation.has_port:
                self.ports.give_back(translation.reply_key)

    def expire(self, now_s: int, most: int = SWEEP_FLOWS) -> int:
        """Forget flows that are over, looking at a bounded number per call; return how many went."""
        gone = 0
        for _ in range(most):
            key = next(self._sweep, None)
            if key is None:
                self._sweep = iter(list(self._flows))
                break
            if self._flows[key].is_over(now_s):
                self._end(self._flows.pop(key))
                gone += 1
        return gone

"""The flow table: which backend a flow belongs to, for as long as it lives.

The balancer of a DSR mode sees one direction only, from client to server, so a connection's
state is what the client's own packets say of it; where servers' packets pass as well, a FIN or RST
of theirs counts too.  Time-outs are each service's own; the defaults are IPVS's.

Every record is counted, live, for its backend: as *active* (established; any UDP) or *inactive*
(opening, closing, closed), which is what least connection goes by.

*Source*: net/netfilter/ipvs/ip_vs_proto_tcp.c (``tcp_timeouts``, ``tcp_states`` tables,
``set_tcp_state``), ip_vs_proto_udp.c (``udp_timeouts``; a UDP entry stays active until it expires).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import IntEnum

from dsrlb.course import Course
from dsrlb.model import Hop, Timeouts
from dsrlb.ports import SourcePorts
from dsrlb.wire.l4 import ACK, FIN, RST, SYN

DEFAULT_MAX_FLOWS = 262_144  # about 350 bytes each; 1000 if translated
SWEEP_FLOWS = 20_000  # looked at per call of expire(): a few milliseconds


class FlowState(IntEnum):
    """How far a flow has come, as seen from the client's side alone."""

    UDP = 0
    SYN_RECEIVED = 1
    ESTABLISHED = 2
    FIN_WAIT = 3
    CLOSED = 4


def by_state(timeouts: Timeouts) -> tuple[int, ...]:
    """Return the time-outs, in seconds, in the order of ``FlowState``."""
    return timeouts.udp_s, timeouts.syn_s, timeouts.established_s, timeouts.fin_s, timeouts.closed_s


TIMEOUT_S = by_state(Timeouts())
_UDP, _SYN, _ESTABLISHED, _FIN, _CLOSED = map(int, FlowState)
_ACTIVE = (_UDP, _ESTABLISHED)


@dataclass(slots=True)
class BackendCount:
    """What one backend of one service was sent, and how many flows it has on record now."""

    packets: int = 0
    octets: int = 0
    flows: int = 0
    active: int = 0
    inactive: int = 0

    def tally(self, state: int, change: int) -> None:
        """Count a flow in this state in (1) or out (-1)."""
        if state in _ACTIVE:
            self.active += change
        else:
            self.inactive += change


@dataclass(slots=True)
class Route:
    """How packets get to one backend of one service, as worked out under one edition of the table."""

    edition: object
    hop: Hop
    macs: bytes  # of the hop: a frame begins with them
    rewrite: Callable[[bytes, Hop], bytes] | None  # None: nothing else changes
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
    request: Course | None = None  # the short way of its packets, each direction's
    reply: Course | None = None


class Flow:
    """A flow's record: its backend, its state, when it was last seen (whole seconds)."""

    __slots__ = ("backend", "count", "route", "seen_s", "state", "timeouts_s", "translation")

    def __init__(
        self,
        backend: bytes,
        state: int,
        seen_s: int,
        count: BackendCount,
        timeouts_s: tuple[int, ...] = TIMEOUT_S,
    ) -> None:
        self.backend = backend
        self.state = state
        self.seen_s = seen_s
        self.count = count  # of its backend: where it is counted while it is in the table
        self.timeouts_s = timeouts_s  # by state
        self.route: Route | None = None
        self.translation: Translation | None = None

    def is_over(self, now_s: int) -> bool:
        """Return whether the flow has been silent for longer than its state allows."""
        return now_s - self.seen_s > self.timeouts_s[self.state]

    def enter(self, state: int) -> None:
        """Change the state of a flow in the table, and the live counts with it."""
        if state != self.state:
            self.count.tally(self.state, -1)
            self.count.tally(state, 1)
            self.state = state


def first_state(flags: int | None, is_proven: bool = False) -> int:
    """Return the state of a flow whose first packet seen has these TCP flags (None: UDP).

    One that is under way begins in the state of one that opens: a second packet proves it, so a flood
    of single packets fills the table for a minute at most.  Except when it must be taken on trust.
    """
    if flags is None:
        return _UDP
    return next_state(_SYN, flags if is_proven else flags & ~ACK)


def next_state(state: int, flags: int, from_server: bool = False) -> int:
    """Return the state after a packet with these TCP flags, from the client or from the server.

    A server's packets can end a connection, never prove one: its SYN with ACK answers any SYN, a
    forged one too.
    """
    if flags & RST:
        return _CLOSED
    if from_server:
        return _FIN if flags & FIN and state < _FIN else state
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

    def __init__(self, max_flows: int = DEFAULT_MAX_FLOWS, flows: dict[bytes, Flow] | None = None) -> None:
        """``flows``: where records stand, if not in a dictionary of its own."""
        self.max_flows = max_flows
        self.refused = 0  # packets that found the table full and went on without a record
        self._flows: dict[bytes, Flow] = {} if flows is None else flows
        self._sweep: Iterator[bytes] = iter(())
        self.get = self._flows.get
        self.replies: dict[bytes, Flow] = {}  # translated flows by the name that their server's packets have
        self.ports = SourcePorts()

    def __len__(self) -> int:
        return len(self._flows)

    def __iter__(self) -> Iterator[tuple[bytes, Flow]]:
        for key in list(self._flows):  # the keys at once: they may come and go meanwhile
            flow = self._flows.get(key)
            if flow is not None:
                yield key, flow

    def has_room(self, key: bytes) -> bool:
        """Return whether a flow can be recorded; count it if not."""
        if len(self._flows) < self.max_flows or key in self._flows:
            return True
        self.refused += 1
        return False

    def insert(self, key: bytes, flow: Flow) -> bool:
        """Record a flow, in place of another of its key; return whether there was room for it."""
        if not self.has_room(key):
            return False
        before = self._flows.get(key)
        if before is not None:
            self._end(before)
        self._flows[key] = flow
        flow.count.tally(flow.state, 1)
        return True

    def forget(self, key: bytes) -> None:
        """Drop a flow's record, if there is one."""
        flow = self._flows.pop(key, None)
        if flow is not None:
            self._end(flow)

    def translate(self, flow: Flow, translation: Translation) -> None:
        """Give a recorded flow its second name, which no other flow may have."""
        flow.translation = translation
        self.replies[translation.reply_key] = flow

    def _end(self, flow: Flow) -> None:
        """Give back what a flow holds beside its own record."""
        flow.count.tally(flow.state, -1)
        translation = flow.translation
        if translation is not None:
            if self.replies.get(translation.reply_key) is flow:
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
            flow = self._flows.get(key)
            if flow is not None and flow.is_over(now_s):
                self.forget(key)
                gone += 1
        return gone

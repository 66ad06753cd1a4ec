"""What the data path remembers from one frame to the next, and how a frame stops."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from dsrlb.budget import Budget
from dsrlb.flows import BackendCount, FlowTable, Route
from dsrlb.fragments import FragmentTable
from dsrlb.least import Race
from dsrlb.model import PASS_REASONS, Action, Hop, Reason
from dsrlb.modes.base import NO_LIMIT
from dsrlb.persistence import TemplateTable
from dsrlb.sampling import HandshakeTable
from dsrlb.table import ForwardingTable

MAX_PICKS = 65_536  # about 200 bytes each

# What happens, why, out of which interface, and the frame to send.
Verdict = tuple[Action, Reason, int, bytes]


_STOPPED: tuple[Verdict, ...] = tuple(
    (Action.PASS if reason in PASS_REASONS else Action.DROP, reason, 0, b"") for reason in Reason
)


class Path(NamedTuple):
    """What routers have said of the way to a server."""

    mtu_bytes: int
    until_s: int


@dataclass(slots=True)
class State:
    """All that the data path remembers from one frame to the next."""

    flows: FlowTable = field(default_factory=FlowTable)
    templates: TemplateTable = field(default_factory=TemplateTable)
    fragments: FragmentTable = field(default_factory=FragmentTable)
    reply_fragments: FragmentTable = field(default_factory=FragmentTable)  # owner: both names of the flow
    turns: dict[bytes, int] = field(default_factory=dict)  # service key -> place of its counter cursor
    picks: dict[bytes, Route] = field(default_factory=dict)  # of flows without a record: a cache, see below
    races: dict[bytes, Race] = field(default_factory=dict)  # service key -> its least cursor
    reasons: list[int] = field(default_factory=lambda: [0] * len(Reason))
    backends: dict[tuple[bytes, bytes], BackendCount] = field(default_factory=dict)
    routes: dict[tuple[bytes, bytes], Route] = field(default_factory=dict)  # by service key, backend key
    paths: dict[bytes, Path] = field(default_factory=dict)  # by a server's 16 bytes
    told: Budget = field(default_factory=Budget)  # errors sent to clients
    handshakes: HandshakeTable = field(default_factory=HandshakeTable)
    clock_us: int = 0  # monotonic; set before frames are processed, and used for handshakes alone
    released: list[Verdict] = field(default_factory=list)  # held pieces that the caller is to send now


def remember_pick(state: State, key: bytes, route: Route) -> None:
    """Note the way of a flow that the slots alone tell the backend of.

    Nothing but time is lost when it is forgotten, which happens to all at once when there is no room.
    """
    if len(state.picks) >= MAX_PICKS:
        state.picks.clear()
    state.picks[key] = route


def expire(state: State, now_s: int) -> None:
    """Forget what is over: silent flows, unused ports, pieces without a first one.  Call once a second."""
    state.flows.expire(now_s)
    state.flows.ports.expire(now_s)
    state.templates.expire(now_s)
    given_up = state.fragments.expire(now_s) + state.reply_fragments.expire(now_s)
    state.reasons[Reason.FRAGMENT_HELD] -= given_up
    state.reasons[Reason.FRAGMENT_EXPIRED] += given_up
    for server in [server for server, path in state.paths.items() if now_s > path.until_s]:
        del state.paths[server]
        forget_routes(state, server)


def forget_others(state: State, table: ForwardingTable) -> bool:
    """Forget what is remembered of services and backends that a table does not have.

    A backend that still has flows on record keeps its counters until they are over, so that it has them
    again if it comes back.  Returns whether nothing of the kind is left.
    """
    for by_service in (state.turns, state.races):
        for key in by_service.keys() - table.services.keys():
            del by_service[key]
    there = {(one.key, backend) for one in table.services.values() for backend in one.by_key}
    for names in state.routes.keys() - there:
        state.routes.pop(names).edition = None
    left = state.backends.keys() - there
    for names in left:
        if not state.backends[names].active + state.backends[names].inactive:
            del state.backends[names]
    sampled = {(one.key, backend) for one in table.services.values() if one.samples for backend in one.by_key}
    state.handshakes.keep(sampled | state.backends.keys() - there)
    return state.backends.keys() <= there


def mtu_to(state: State, server: bytes, hop: Hop) -> int:
    """Return the greatest packet that the way to a server takes, as far as it is known."""
    path, mtu_bytes = state.paths.get(server), hop.mtu_bytes or NO_LIMIT
    return mtu_bytes if path is None else min(mtu_bytes, path.mtu_bytes)


def forget_way(state: State, key: bytes) -> None:
    """Let the packets of a flow go the long way until its route is noted again."""
    state.picks.pop(key, None)
    flow = state.flows.get(key)
    if flow is not None:
        flow.route = None
        if flow.translation is not None:
            flow.translation.request = None


def forget_routes(state: State, server: bytes) -> None:
    """Let the flows of a server (16 bytes) work out their route anew."""
    for names in [names for names in state.routes if names[1][:16] == server]:
        state.routes.pop(names).edition = None


def stop(state: State, reason: Reason) -> Verdict:
    """Count a frame that goes no further; return its verdict."""
    state.reasons[reason] += 1
    return _STOPPED[reason]

"""What every engine offers to the control path, and what it lets it hear."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple, Protocol, TypeVar

from dsrlb.engines.tracing import Tracer
from dsrlb.flows import BackendCount
from dsrlb.foresight.foretold import Scene
from dsrlb.host.links import Link
from dsrlb.sampling import Handshakes
from dsrlb.standing import Names
from dsrlb.state import State
from dsrlb.table import ForwardingTable

Answer = TypeVar("Answer")


class Counters(NamedTuple):
    """What an engine has counted: since its start, or since what it counts in was made (XDP: maps stay)."""

    reasons: Sequence[int]  # frames, by Reason
    backends: Mapping[tuple[bytes, bytes], BackendCount]  # by service key, backend key
    flows_refused: int  # packets that found no room for a record
    templates_refused: int
    ends: Mapping[Names, BackendCount] = MappingProxyType({})  # of ``backends``: what no next process finds
    # By service, reason, whether only counted: what limits of mode proxy refused, since this process began.
    refused: Mapping[tuple[str, str, bool], int] = MappingProxyType({})


class FlowSeen(NamedTuple):
    """A flow on record, as a person is shown it."""

    key: bytes  # as ``wire.l4.flow_key`` has it
    service: bytes | None  # its key; None: there is no such service any more
    backend: bytes
    state: int  # flows.FlowState
    ends_s: int  # monotonic: when it is forgotten unless it is heard of again


def counters_of(state: State) -> Counters:
    """Return what a data path has counted."""
    return Counters(state.reasons, state.backends, state.flows.refused, state.templates.refused)


@dataclass(frozen=True)
class Hears:
    """Whom an engine tells, on its own thread, of what the control path is to know."""

    conflict: Callable[[bytes, int], None]  # frame, ifindex: another machine claims a VIP
    failure: Callable[[Exception], None]  # the engine's thread has ended, which nothing should make it do
    refusal: Callable[[bytes], None]  # frame: a server does not take what is sent to it


class Engine(Protocol):
    """Frames in, frames out, by the table of now.

    ``widen`` before another table is installed, ``narrow`` after it: so nothing is missed in between.
    """

    name: str

    @property
    def table(self) -> ForwardingTable:
        """The table in use."""

    @property
    def outlives(self) -> bool:
        """Whether frames are taken even when this is closed."""

    @property
    def counts_in(self) -> str:
        """In what it counts, which is another one's word too who counts on there; empty: this process."""

    def counters(self) -> Counters:
        """Return what has been counted."""

    def handshakes(self) -> Mapping[Names, Handshakes]:
        """Return what was seen of handshakes, where services have them looked at."""

    @property
    def max_flows(self) -> int:
        """How many flows can be on record."""

    def flows(self) -> Iterator[FlowSeen]:
        """Yield the flows on record, a few at a time; what comes or goes meanwhile may be missed."""

    def ask(self, question: Callable[[Scene], Answer]) -> Answer:
        """Return the answer to a question about what would come of frames now; it changes nothing."""

    def tracer(self) -> Tracer:
        """Return what tells decisions; may take a second, on any thread.  HostError: they cannot be told."""

    def add_way_out(self, link: Link, *, hears: bool = False) -> None:
        """Make an interface usable for sending; and ``hears``, for errors about what was sent."""

    def widen(self, links: Sequence[Link], vips: Sequence[bytes]) -> None:
        """Take frames of more VIPs, on more interfaces.  ConfigError or HostError: nothing has changed."""

    def narrow(self, links: Sequence[Link], vips: Sequence[bytes], ways: Iterable[int]) -> None:
        """Take frames of these VIPs on these interfaces only, and send by no other ways (ifindex)."""

    def check(self, table: ForwardingTable) -> None:
        """Raise HostError for a table that is too large for this engine; nothing is changed."""

    def install(self, table: ForwardingTable) -> None:
        """Use another table from now on."""

    def tend(self) -> None:
        """Do what is due every second, on the control path's thread."""

    def start(self) -> None:
        """Begin to forward."""

    def stop(self) -> None:
        """Do nothing more; the counters are final then, unless the engine goes on by itself."""

    def hand_on(self) -> None:
        """Leave what is remembered of flows for the next process, once stopped."""

    def close(self) -> None:
        """Stop, and release everything that is not to outlive the process."""

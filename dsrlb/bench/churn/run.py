"""Connections are held, one thing after the other happens, and those that broke of it are counted.

Before each event some connections are closed and others opened, as many as broke included, so that the
same number is held each time, on all servers that take new ones.  Behind it, each must still carry a question
and its answer.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import product

from dsrlb import schedulers
from dsrlb.bench.churn.events import EVENTS
from dsrlb.bench.churn.stand import PREFIX, WITHIN_S, Case, Stand, stand
from dsrlb.lab.topologies import BY_MODE

ENGINES, MODES = ("packet", "xdp"), tuple(BY_MODE)
SCHEDULERS = tuple(schedulers.BY_NAME)
DEFAULT_SCHEDULERS = ("maglev", "hash", "wrr", "lc")
TURN_OVER = 10  # one in so many connections is closed, and another opened, before each event


@dataclass(frozen=True)
class Outcome:
    """What an event did to the connections that were held."""

    event: str
    held: int
    own: int  # how many the server had that was taken away
    broken_own: int  # how many of these broke
    broken: int  # how many of others broke
    causes: Mapping[str, int]  # how those of others broke
    slowest_s: float  # the longest that an answer took
    is_promised: bool  # that none of others breaks

    @property
    def is_kept(self) -> bool:
        """Whether what is promised was kept."""
        return not (self.is_promised and self.broken)


@dataclass(frozen=True)
class Row:
    """A case, and what each event did in it."""

    case: Case
    outcomes: tuple[Outcome, ...]

    @property
    def is_kept(self) -> bool:
        """Whether all that is promised was kept."""
        return all(one.is_kept for one in self.outcomes)


def torment(case: Case, held: int, events: Sequence[str], prefix: str = PREFIX) -> Row:
    """Let these events happen in a lab of its own, one after the other."""
    with stand(case, prefix) as here:
        for role in here.lab.balancer_names:
            here.start(role)
        here.hold(held)
        return Row(case, tuple(_happens(here, name, held) for name in events))


def _happens(here: Stand, name: str, count: int) -> Outcome:
    event = EVENTS[name]
    here.ask("let_go", count=count // TURN_OVER)
    held = here.hold(count)
    here.ask("beat", within_s=WITHIN_S)
    is_promised = event.promised(here)
    event.does(here)
    answer = here.ask("beat", within_s=WITHIN_S)
    broken = [(server, cause) for server, cause in answer["broken"]]
    others = Counter(cause for server, cause in broken if server != event.own)
    own = sum(server == event.own for server, _ in broken)
    return Outcome(
        event=name,
        held=count,
        own=held.get(event.own, 0),
        broken_own=own,
        broken=others.total(),
        causes=dict(others),
        slowest_s=answer["slowest_s"],
        is_promised=is_promised,
    )


def cases(
    engines: Sequence[str], modes: Sequence[str], of: Sequence[str], events: Sequence[str]
) -> list[Case]:
    """Return what there is to torment: each of these with one balancer, and l3dsr with two."""
    every = [Case(*one) for one in product(engines, modes, of)]
    if "l3dsr" in modes:
        every += [Case(engine, "l3dsr", one, balancers=2) for engine, one in product(engines, of)]
    wanted = {EVENTS[one].balancers for one in events}
    return [one for one in every if one.balancers in wanted]


def rows(cases: Sequence[Case], held: int, events: Sequence[str], prefix: str = PREFIX) -> Iterator[Row]:
    """Yield each case's row when it is done, with those of the events that are for its balancers."""
    for case in cases:
        own = [one for one in events if EVENTS[one].balancers == case.balancers]
        yield torment(case, held, own, prefix)


# --- telling --------------------------------------------------------------------------------------


def head(events: Sequence[str]) -> str:
    """Return the line above the rows."""
    return f"{'engine':<7}{'mode':<8}{'scheduler':<10}" + "".join(f"{one:>{_width(one)}}" for one in events)


def line(row: Row, events: Sequence[str]) -> str:
    """Return a row: how many connections of others broke; behind a + how many of the server's own."""
    cells = {one.event: _cell(one) for one in row.outcomes}
    said = "".join(f"{cells.get(one, '-'):>{_width(one)}}" for one in events)
    case = row.case
    return f"{case.engine:<7}{case.where:<8}{case.scheduler:<10}{said}"


def _cell(one: Outcome) -> str:
    own = f" +{one.broken_own}" if one.own else ""
    return f"{one.broken}{own}{'' if one.is_kept else '!'}"


def _width(event: str) -> int:
    return max(len(event) + 1, 8 if EVENTS[event].own else 6)


def causes(done: Sequence[Row]) -> list[str]:
    """Return a line for each event that broke connections of others than the server's own."""
    return [
        f"{row.case}, {one.event}: {', '.join(f'{count} {cause}' for cause, count in one.causes.items())}"
        + ("" if one.is_kept else "; promised: none")
        for row in done
        for one in row.outcomes
        if one.broken
    ]


def slowest(done: Sequence[Row], events: Sequence[str]) -> str:
    """Return the longest that an answer took, by event."""
    by_event = {
        name: [one.slowest_s for row in done for one in row.outcomes if one.event == name] for name in events
    }
    return ", ".join(f"{name} {max(times):.1f}" for name, times in by_event.items() if times)


def summary(done: Sequence[Row], events: Sequence[str], began_s: float) -> list[str]:
    """Return what stands below the rows."""
    broken = [one for row in done for one in row.outcomes if not one.is_kept]
    return [
        "",
        *causes(done),
        f"slowest answer, s: {slowest(done, events)}",
        f"{'every promise was kept' if not broken else f'{len(broken)} promises were NOT kept (!)'}; "
        f"{time.monotonic() - began_s:.0f} s in all",
    ]


def as_json(done: Sequence[Row], began_s: float) -> str:
    """Return all outcomes as JSON."""
    return json.dumps(
        {
            "seconds": round(time.monotonic() - began_s, 1),
            "rows": [
                {**asdict(row.case), "kept": row.is_kept, "events": [asdict(one) for one in row.outcomes]}
                for row in done
            ],
        },
        indent=2,
    )

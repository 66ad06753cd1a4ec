"""Whether the running dsrlb asks its servers on time.  Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from dsrlb.config import Config
from dsrlb.doctor.about import About
from dsrlb.doctor.finding import BALANCER, Finding
from dsrlb.doctor.scene import Row
from dsrlb.model import Check, Service, person_backend
from dsrlb.standing import named

SLACK_S = 2.0  # what checks may be late by: a moment of a busy host is no fault
SEEN_ONCE = frozenset(("server_mac", "arp_announce"))
NAMED = 3  # so many late ones are told of by name


class Late(NamedTuple):
    """A server that was to be asked again by now."""

    server: str
    ago_s: float
    due_s: float  # after so long at the latest a check has ended


def judge_clock(config: Config, rows: Sequence[Row] | None) -> Iterator[Finding]:
    """Yield whether checks are made in time; ``rows``: of ``show health``, None: no dsrlb runs."""
    about = About("health_clock", BALANCER)
    checks = checks_of(config)
    if not checks:
        says = "servers are not checked: all are taken for up"
        yield about.unknown(says, "", "--check tcp, or [service.check]")
        return
    if rows is None:
        says = "no dsrlb runs here that would check servers"
        yield about.unknown(says, "", "dsrlb serve")
        return
    late = late_of(rows, checks)
    if not late:
        says = f"servers are asked on time, {len(checks)} of them"
        yield about.ok(says)
        return
    seen = "; ".join(
        f"{one.server} {one.ago_s:.1f} s ago, due within {one.due_s:.1f} s" for one in late[:NAMED]
    )
    says = f"checks are late, of {len(late)} of {len(checks)} servers: what they last found may hold no more"
    mend = "look for what takes the time (top; dsrlb's log), or check less often (interval)"
    yield about.wrong(says, seen, mend)


def judge_down(proxied: Sequence[Service], rows: Sequence[Row]) -> Iterator[Finding]:
    """Yield the servers of mode proxy that are down: from here only their checks tell of them."""
    names = {one.name for one in proxied}
    for row in rows:
        label = row["name"] or row["backend"]
        if row["service"] in names and row["state"] == "down":
            says = f"it fails the checks of {row['service']}"
            yield About("server_down", label).wrong(says, row["why"], row["mending"])
        elif row["service"] in names and row["state"] == "up":
            yield About("server_down", label).ok(f"it passes the checks of {row['service']}")


def judge_remarks(rows: Sequence[Row]) -> Iterator[Finding]:
    """Yield what the running dsrlb has seen of servers, and may not be seen again while the doctor looks."""
    for row in rows:
        for word, detail in ((one["word"], one["detail"]) for one in row["remarks"]):
            if word in SEEN_ONCE:
                says, _, mend = detail.rpartition("; ")
                mend = mend.removeprefix("on the server: ")
                label = row["name"] or row["backend"]
                yield About(word, label).wrong(says, "seen by the running dsrlb", mend)


def checks_of(config: Config) -> dict[tuple[str, str], Check]:
    """Return the check of each server that has one, by service and backend as ``show`` names them."""
    return {
        (service.name, person_backend(names[1])): check
        for service in config.services
        for names, backend in named(service)
        if (check := backend.check or service.check) is not None
    }


def late_of(rows: Sequence[Row], checks: dict[tuple[str, str], Check]) -> list[Late]:
    """Return the servers whose last check ended too long ago."""
    found = []
    for row in rows:
        check = checks.get((row["service"], row["backend"]))
        if check is None:
            continue
        due_s = check.interval_s + check.timeout_s + SLACK_S
        ago_s = row["last"]["ago_s"] if row["last"] is not None else row["since_s"] or 0.0
        if ago_s > due_s:
            found.append(Late(row["name"] or row["backend"], ago_s, due_s))
    return found

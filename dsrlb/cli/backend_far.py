"""``dsrlb backend … --config FILE``: the servers of a file, from the balancer, and how each is left."""

from __future__ import annotations

import asyncio
import json
import shlex
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

import click

from dsrlb.cli import tables
from dsrlb.cli.backend_options import DEFAULT_WAY, Far
from dsrlb.config import read_config
from dsrlb.errors import DsrlbError
from dsrlb.host.backend_scripts import dsrlb_there
from dsrlb.host.neighbours import routes_to
from dsrlb.host.via_choice import vias_for
from dsrlb.model import Address
from dsrlb.remote import runs
from dsrlb.remote.jobs import Chosen, Server, chosen_of, flags_by, servers_of
from dsrlb.remote.runs import GOOD, Course, State

Work = Callable[[], Coroutine[Any, Any, None]]


def setup(far: Far, chosen: Chosen, *, plan: bool, boot: str | None) -> None:
    """Set the servers up: plan, do, verify."""
    courses = _courses(far, servers_of(_services(far), flags_by(chosen, _own_address_to)))

    async def work() -> None:
        await runs.each(courses, runs.plan_setup)
        if boot is not None:  # what cannot last is told before anything is changed
            await runs.each(courses, runs.booting(boot, plan=True))
        _show(far, courses, "plan")
        if plan:
            await runs.each(courses, _left(State.PLANNED))
            return
        await runs.each(courses, runs.set_up)
        if boot is not None:
            await runs.each(courses, runs.booting(boot))
        _show(far, courses, "done")
        await runs.each(courses, runs.verifying(State.SET_UP, boot))
        _show(far, courses, "verified")

    _run(far, courses, work, State.UNCHANGED)


def verify(far: Far, chosen: Chosen, *, boot: str | None) -> None:
    """Look whether the servers are as they are to be."""
    courses = _courses(far, servers_of(_services(far), flags_by(chosen, _own_address_to)))

    async def work() -> None:
        await runs.each(courses, runs.verifying(State.RIGHT, boot))
        _show(far, courses, "verified")

    _run(far, courses, work, State.UNKNOWN)


def undo(far: Far, *, plan: bool) -> None:
    """Take back what was done, and nothing else."""
    courses = _courses(far, servers_of(_services(far), lambda service, backend: ()))

    async def work() -> None:
        if plan:
            await runs.each(courses, runs.unbooting(plan=True))
            await runs.each(courses, runs.plan_undo)
            _show(far, courses, "plan")
            await runs.each(courses, _left(State.PLANNED))
            return
        await runs.each(courses, runs.unbooting())
        await runs.each(courses, runs.undo)
        _show(far, courses, "done")

    _run(far, courses, work, State.NOT_UNDONE)


# ----------------------------------------------------------------------------- what there is to do


def _services(far: Far) -> Sequence[Any]:
    return read_config(far.file).services


def _courses(far: Far, servers: Sequence[Server]) -> list[Course]:
    """Return the servers chosen, each with its way; UsageError for a wrong word, before anything is done."""
    mine = chosen_of(servers, far.names)
    ways = vias_for(far.ways, {one.name: str(one.address) for one in mine})
    rest = {one.name: str(one.address) for one in mine if one.name not in ways}
    ways |= vias_for([DEFAULT_WAY], rest)
    return [Course(one, ways[one.name], dsrlb_there(ways[one.name], far.dsrlb)) for one in mine]


def _own_address_to(server: Address) -> Address | None:
    """Return this host's address on the link of a server, which is what inline's servers answer by."""
    route = routes_to([server])[server]
    return route.source if route is not None and route.gateway is None else None


def _left(state: State) -> runs.Step:
    async def step(course: Course) -> None:
        course.end(state)

    return step


def _run(far: Far, courses: Sequence[Course], work: Work, cut_off: State) -> None:
    """Do the work, and say how each server is left, also when interrupted; exit 1 unless all is well."""
    try:
        asyncio.run(work())
    except KeyboardInterrupt:
        for course in courses:
            if course.goes_on:
                course.end(State.HALF_WAY if course.is_changing else cut_off, "interrupted")
        _end(far, courses)
        raise
    _end(far, courses)
    if any(course.state not in GOOD for course in courses):
        raise SystemExit(DsrlbError.exit_code)


# ----------------------------------------------------------------------------- what is printed


def _show(far: Far, courses: Iterable[Course], part: str) -> None:
    """Print what a phase has brought, server by server; of what was verified only what is wrong."""
    for course in courses:
        lines: list[str] = [*dict.fromkeys(getattr(course, part))]  # dsrlb there knows of boot as well
        if part == "verified":
            lines = [line for line in lines if runs.is_wrong(line)]
        if not far.is_json and lines:
            click.echo(f"{course.server.name} ({course.via}) {part}:")
            click.echo("".join(f"  {line}\n" for line in lines), nl=False)


def _end(far: Far, courses: Sequence[Course]) -> None:
    if far.is_json:
        click.echo(json.dumps([_row(far, course) for course in courses], indent=2))
        return
    rows = [(*_head(course), course.state.value, course.says or None) for course in courses]
    tables.show(tables.table(tables.left("server", "address", "modes", "state", "why"), rows))
    for line in _ways_back(far, courses):
        click.echo(line)


def _head(course: Course) -> tuple[str, str, str]:
    modes = ",".join(dict.fromkeys(job.mode for job in course.server.jobs)) or "-"
    return course.server.name, str(course.server.address), modes


def _row(far: Far, course: Course) -> dict[str, Any]:
    jobs = [asdict(job) | {"vips": [*map(str, job.vips)]} for job in course.server.jobs]
    return {
        "name": course.server.name,
        "address": str(course.server.address),
        "via": str(course.via),
        "jobs": jobs,
        "state": course.state.value,
        "says": course.says,
        "plan": [*dict.fromkeys(course.plan)],
        "done": course.done,
        "verified": course.verified,
        "back": _way_back(far, course),
    }


def _ways_back(far: Far, courses: Iterable[Course]) -> Iterator[str]:
    for course in courses:
        command = _way_back(far, course)
        if command:
            yield f"to take back what was done on {course.server.name}: {command}"


def _way_back(far: Far, course: Course) -> str:
    """Return the command that takes back what a server may have been left with; empty: there is nothing."""
    left_wrong = course.state is State.WRONG and course.done
    if not left_wrong and course.state not in (State.HALF_WAY, State.NOT_UNDONE):
        return ""
    words = ["dsrlb", "backend", "undo", "--config", far.file, "--backend", course.server.name]
    words += ["--via", str(course.via)]
    return shlex.join(words + (["--dsrlb", far.dsrlb] if far.dsrlb is not None else []))

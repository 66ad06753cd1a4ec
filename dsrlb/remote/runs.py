"""What becomes of servers that are set up, verified or undone: several at once, each on its own account.

::

    setup    plan ── set up ── boot ── verify        what fails ends the course of its server, and of no other
    undo     boot taken back ── undo
    verify   verify
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum

from dsrlb.errors import HostError
from dsrlb.host.backend_scripts import boot_script, boot_words, setup_script
from dsrlb.host.via import WITHIN_S, Ran, Via, ran
from dsrlb.remote.jobs import Job, Server

AT_ONCE = 16
WITHIN_EACH_S = 2.0  # for each VIP, beside WITHIN_S: a small machine may be slow


class State(str, Enum):
    """How a server is left."""

    WAITING = "not begun"
    PLANNED = "planned"
    SET_UP = "set up"
    RIGHT = "as it should be"
    UNDONE = "undone"
    NOTHING = "nothing to do"
    WRONG = "not as it should be"
    UNCHANGED = "unchanged"
    HALF_WAY = "perhaps half-way"
    NOT_UNDONE = "not undone"
    UNKNOWN = "cannot tell"


NOT_ASKED = "its modes ask nothing of a server"
GOOD = frozenset((State.PLANNED, State.SET_UP, State.RIGHT, State.UNDONE, State.NOTHING))


@dataclass
class Course:
    """What has become of a server so far."""

    server: Server
    via: Via
    dsrlb: tuple[str, ...] = ()
    state: State = State.WAITING
    is_changing: bool = False  # a setup is under way, or done
    says: str = ""  # why it is not as it was to be, in one sentence
    plan: list[str] = field(default_factory=list)
    done: list[str] = field(default_factory=list)
    verified: list[str] = field(default_factory=list)

    @property
    def goes_on(self) -> bool:
        """Whether nothing has ended it."""
        return self.state is State.WAITING

    def end(self, state: State, says: str = "") -> None:
        """Leave the server so."""
        self.state, self.says = state, says


class Refused(Exception):
    """The script has ended with a sentence."""


Step = Callable[[Course], Awaitable[None]]


async def each(courses: Sequence[Course], step: Step) -> None:
    """Do a step on every server whose course goes on, several at once."""
    free = asyncio.Semaphore(AT_ONCE)

    async def one(course: Course) -> None:
        async with free:
            await step(course)

    await asyncio.gather(*(one(course) for course in courses if course.goes_on))


async def plan_setup(course: Course) -> None:
    """Ask what there is to do; nothing is changed."""
    await _plan(course, "setup", State.UNCHANGED)


async def plan_undo(course: Course) -> None:
    """Ask what there is to take back; nothing is changed."""
    await _plan(course, "undo", State.NOT_UNDONE)


async def _plan(course: Course, verb: str, otherwise: State) -> None:
    if not course.server.jobs:
        course.end(State.NOTHING, NOT_ASKED)
    try:
        for job in course.server.jobs:
            course.plan += (await _answer(course, job, verb, plan=True)).out.splitlines()
    except (HostError, Refused) as error:
        course.end(otherwise, str(error))


async def set_up(course: Course) -> None:
    """Do it, job by job."""
    course.is_changing = True
    try:
        for job in course.server.jobs:
            await _change(course, _answer(course, job, "setup"))
    except Refused as error:
        begun = any(line.startswith("done ") for line in course.done)
        course.end(State.HALF_WAY if begun else State.UNCHANGED, str(error))
    except HostError as error:  # it may have got any far
        course.end(State.HALF_WAY, str(error))


def booting(kind: str, *, plan: bool = False) -> Step:
    """Return the step that makes a set-up last over a reboot."""
    return _boot_step("write", kind, State.UNCHANGED if plan else State.HALF_WAY, plan=plan)


def unbooting(*, plan: bool = False) -> Step:
    """Return the step that takes back what makes a set-up last."""
    return _boot_step("remove", "", State.NOT_UNDONE, plan=plan)


def _boot_step(verb: str, kind: str, otherwise: State, *, plan: bool) -> Step:
    async def step(course: Course) -> None:
        into = course.plan if plan else course.done
        try:
            for job in course.server.jobs:
                into += (await _boot(course, job, verb, kind, plan=plan)).out.splitlines()
        except (HostError, Refused) as error:
            course.end(otherwise, str(error))

    return step


async def undo(course: Course) -> None:
    """Take everything back, the last job first."""
    try:
        for job in reversed(course.server.jobs):
            await _change(course, _answer(course, job, "undo"))
    except (HostError, Refused) as error:
        course.end(State.NOT_UNDONE, str(error))
        return
    if not course.server.jobs:
        course.end(State.NOTHING, NOT_ASKED)
    elif all(line.startswith("nothing ") for line in course.done):
        course.end(State.NOTHING, "no setup of it is on record there")
    else:
        course.end(State.UNDONE)


def verifying(good: State, kind: str | None = None) -> Step:
    """Return the step that looks whether a server is as it should be, and is left ``good`` if so."""

    async def step(course: Course) -> None:
        if not course.server.jobs:
            course.end(State.NOTHING, NOT_ASKED)
            return
        try:
            answers = [await _answer(course, job, "verify") for job in course.server.jobs]
            if kind is not None:
                answers += [await _boot(course, job, "verify", kind) for job in course.server.jobs]
        except (HostError, Refused) as error:
            course.end(State.UNKNOWN, str(error))
            return
        course.verified = [line for answer in answers for line in answer.out.splitlines()]
        wrong = [line.partition(" ")[2].strip() for line in course.verified if is_wrong(line)]
        course.end(State.WRONG if wrong else good, wrong[0] if wrong else "")

    return step


def is_wrong(line: str) -> bool:
    """Return whether a line of ``verify`` tells of something that is not right."""
    return line.startswith(("missing ", "problem "))


# ----------------------------------------------------------------------------- one script


async def _change(course: Course, running: Awaitable[Ran]) -> None:
    course.done += (await running).out.splitlines()


async def _answer(course: Course, job: Job, verb: str, *, plan: bool = False) -> Ran:
    said = job if verb != "undo" else Job(job.mode, job.vips, ())
    return await _ran(course, job, setup_script(course.dsrlb), said.words(verb, plan=plan), verb)


async def _boot(course: Course, job: Job, verb: str, kind: str, *, plan: bool = False) -> Ran:
    words = ("--mode", job.mode, *job.flags) if verb != "remove" else ()
    arguments = boot_words(verb, kind, [*map(str, job.vips)], words, plan=plan)
    return await _ran(course, job, boot_script(course.dsrlb), arguments, verb)


async def _ran(course: Course, job: Job, script: str, words: Sequence[str], verb: str) -> Ran:
    """Run a script there; ``Refused`` with its sentence if it failed, and what it had done until then."""
    answer = await ran(course.via, script, words, WITHIN_S + WITHIN_EACH_S * len(job.vips))
    lines = answer.out.splitlines()
    if (
        verb == "verify"
        and answer.code in (0, 1)
        and any(map(is_wrong, lines)) == bool(answer.code)
        and lines
    ):
        return answer
    if verb != "verify" and answer.code == 0 and (lines or verb != "setup"):
        return answer
    course.done += lines if "--plan" not in words else []
    said = answer.err.strip().splitlines() or [
        f"what runs there is no shell: exit code {answer.code}, no word"
    ]
    raise Refused(_without_name(said[-1]))


def _without_name(line: str) -> str:
    for name in ("backend-setup: ", "backend-boot: ", "dsrlb: "):
        line = line.removeprefix(name)
    return line

"""Response times of the servers of services that go by them, looked at once a second."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from dsrlb.answered import Answers
from dsrlb.health.record import Record
from dsrlb.model import Backend, Service
from dsrlb.response import NO_TIMES, Heard, Memory, after
from dsrlb.sampling import Handshakes
from dsrlb.schedulers import RESPONSE
from dsrlb.standing import AS_CONFIGURED, Names, Standing, named

NO_ANSWERS: Mapping[Names, Mapping[str, Answers]] = MappingProxyType({})


def by_response(services: Sequence[Service]) -> list[Service]:
    """Return the services whose servers' weights go by response times."""
    return [service for service in services if service.scheduler == RESPONSE.name]


def time_us(memory: Memory | None, record: Record | None) -> float | None:
    """Return how long a server takes to answer, by what is known of it, or by its checks alone."""
    if memory is not None:
        return memory.response_us if memory.answer_us is None else memory.answer_us
    return None if record is None else _us(record.time_s)


def _us(time_s: float | None) -> float | None:
    return None if time_s is None else 1e6 * time_s


def times_us(memories: Mapping[Names, Memory], records: Mapping[Names, Record]) -> dict[Names, float]:
    """Return how long servers take to answer, of whom that is known."""
    known = ((names, time_us(memories.get(names), records.get(names))) for names in {*memories, *records})
    return {names: one for names, one in known if one is not None}


class Responses:
    """What is known of each server's response time; of those that stay, also after a reload."""

    def __init__(self) -> None:
        """Know nothing."""
        self.of: dict[Names, Memory] = {}
        self._counted: dict[Names, Sequence[int]] | None = None  # handshakes by time, at the last look
        self._asked_s: dict[Names, float] = {}  # when its last check ended, then

    def keep(self, services: Sequence[Service]) -> None:
        """Forget all but the servers of those of these services that are by response time."""
        stay = {names for service in by_response(services) for names, _ in named(service)}
        self.of = {names: one for names, one in self.of.items() if names in stay}

    def look(
        self,
        services: Sequence[Service],
        standings: Mapping[Names, Standing],
        records: Mapping[Names, Record],
        handshakes: Mapping[Names, Handshakes],
        now_s: float,
        answers: Mapping[Names, Mapping[str, Answers]] = NO_ANSWERS,
    ) -> dict[Names, int]:
        """Take in what was heard since the last look; return how many per cent of its weight each server has.

        ``services`` are those by response time.  What was counted before the first look is not.
        ``answers``: as HAProxy tells them, by group.
        """

        def heard(names: Names, backend: Backend) -> Heard:
            return replace(
                self._probed(names, records.get(names)),
                times=self._new_times(names, counted.get(names)),
                answers=answers.get(names, {}),
                takes_new=standings.get(names, AS_CONFIGURED).takes_new(backend),
            )

        counted = {names: one.times for names, one in handshakes.items()}
        known: dict[Names, Memory] = {}
        for service in services:
            known |= after(self.of, {names: heard(names, one) for names, one in named(service)}, now_s)
        self.of, self._counted = known, counted
        self._asked_s = {names: one.last.at_s for names, one in records.items() if one.last is not None}
        return {names: one.percent for names, one in known.items()}

    def _probed(self, names: Names, record: Record | None) -> Heard:
        """Return how long a server's probes take, and their connections, and whether another has passed."""
        if record is None:
            return Heard()
        last, time_us, connect_us = record.last, _us(record.time_s), _us(record.connect_s)
        is_new = last is not None and last.outcome.ok and last.at_s != self._asked_s.get(names)
        return Heard(time_us, is_new, connect_us=connect_us, probes=len(record.times_s))

    def _new_times(self, names: Names, counted: Sequence[int] | None) -> Sequence[int]:
        """Return the handshakes of a server since the last look."""
        if counted is None or self._counted is None:
            return NO_TIMES
        before = self._counted.get(names, NO_TIMES)
        if counted == before:
            return NO_TIMES
        new = [now - then for now, then in zip(counted, before, strict=True)]
        return new if min(new) >= 0 else counted  # less than before: it is counted anew

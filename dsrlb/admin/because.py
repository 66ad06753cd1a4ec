"""Why a packet goes where it goes, in sentences."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from dsrlb.foresight.foretold import Foretold, Record, Why
from dsrlb.foresight.meaning import MEANING
from dsrlb.foresight.subject import Kind
from dsrlb.model import Reason
from dsrlb.table import WHOLE_ADDRESS, CompiledService, Target

_GOES_ON = (Reason.FORWARDED, Reason.FRAGMENT_FORWARDED, Reason.ICMP_STEERED, Reason.REPLY_FORWARDED)
Name = Callable[[bytes], str]  # a backend's key -> what a person calls it


def because(told: Foretold, name: Name) -> Iterator[str]:
    """Yield what the verdict hangs on, the first thing first."""
    service = told.subject.service
    if told.subject.kind is Kind.REPLY and told.before is not None:
        yield f"it is what {name(told.before.backend)} answers to a client, whose flow is on record"
    elif service is not None and told.subject.key is not None:
        yield from _of_record(told, service, name)
        yield from _of_template(told, name)
        yield from _of_pick(told, service, name)
        yield from _of_keeping(told, service)
    if told.verdict[1] not in _GOES_ON:
        yield _as_clause(MEANING[told.verdict[1]])


def _as_clause(sentence: str) -> str:
    is_word = sentence[1:2].islower() or sentence.startswith("A ")
    return (sentence[0].lower() + sentence[1:] if is_word else sentence).rstrip(".")


def _of_record(told: Foretold, service: CompiledService, name: Name) -> Iterator[str]:
    """Yield why the record of a flow is of no use, where there is one that is not heeded."""
    record = told.before
    if record is None or told.why is Why.RECORD:
        return
    at = f"its record at {name(record.backend)}"
    if record.left_s < 0:
        yield f"{at} is over: the flow was silent for {record.silent_s} s"
    elif record.begins_anew:
        yield f"{at} has ended ({record.state.name.lower()}), and this SYN opens another connection"
    else:
        yield f"{at} is not heeded: that backend {_trouble(service.by_key.get(record.backend))}"


def _trouble(target: Target | None) -> str:
    if target is None:
        return "is none of the service any more"
    if target.hop is None:
        return "is unresolved: its MAC is not known now"
    return "takes what is under way by TCP alone (down, ejected or disabled)"


def _of_template(told: Foretold, name: Name) -> Iterator[str]:
    if told.template is not None and told.why is not Why.TEMPLATE and told.why is not Why.RECORD:
        backend, left_s = told.template
        yield f"its client was at {name(backend)} lately ({left_s} s are left of it), which is not heeded now"


def _of_pick(told: Foretold, service: CompiledService, name: Name) -> Iterator[str]:
    """Yield what led the packet to its backend."""
    if told.target is None or told.why is None:
        return
    here = name(told.target.key)
    match told.why:
        case Why.RECORD if told.before is not None:
            yield f"its flow is on record at {here}: {_person_record(told.before)}"
        case Why.TEMPLATE if told.template is not None:
            yield f"its client was at {here} lately, and stays there for {told.template[1]} s yet (persist)"
        case Why.TURN:
            yield f"it is the turn of {here}: {len(service.slots)} slots are taken one after the other"
        case Why.LEAST:
            active, inactive = told.loads[told.target.key]
            yield f"{here} has the least to do for its share: {active} active, {inactive} inactive flows"
        case Why.FORMER:
            yield f"slots change hands: the flow's was {here}'s before, where a flow without a record is"
        case _ if told.slot is not None:
            number, of = told.slot.number, told.slot.of
            yield f"slot {number} of {of}, by the hash of {_hashed(service)}, is {here}'s"


def _of_keeping(told: Foretold, service: CompiledService) -> Iterator[str]:
    """Yield what becomes of the flow's record."""
    if told.subject.kind is not Kind.REQUEST:
        return
    if told.after is None and told.before is not None:
        yield "its record goes"
    elif told.after is not None and (told.before is None or not told.before.holds):
        yield f"it gets a record: {told.after.state.name.lower()}, kept for {told.after.left_s} s"
    elif not told.has_room:
        yield "there is no room for a record"
    elif told.after is None and told.why is Why.SLOT and not service.records_all:
        yield "it needs no record: its slot leads every packet of the flow there"


def _person_record(record: Record) -> str:
    return f"{record.state.name.lower()}, silent for {record.silent_s} s, kept for {record.left_s} s yet"


def _hashed(service: CompiledService) -> str:
    if service.prefixes is None:
        return "the flow"
    return "the client's address" if service.prefixes == WHOLE_ADDRESS else "the client's network"

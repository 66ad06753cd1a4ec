"""A state that answers as another one does, and takes what is written.

Nothing is copied but what one frame touches: a record, the counts of the backends of its service, a template,
a datagram in pieces, a ring of ports.  Ways that were noted to save time are left out: the long way through
the data path has the same outcome.
"""

from __future__ import annotations

from copy import copy
from dataclasses import replace
from functools import partial

from dsrlb.budget import Budget
from dsrlb.flows import BackendCount, Flow, FlowTable
from dsrlb.foresight.layer import Copies, Layer
from dsrlb.fragments import Datagram, FragmentTable
from dsrlb.least import Race
from dsrlb.persistence import Template, TemplateTable
from dsrlb.ports import SourcePorts
from dsrlb.state import State


def overlay(state: State) -> State:
    """Return such a state; the other one must not change as long as this one is in use."""
    own = Copies()
    return State(
        flows=_flows(state.flows, own),
        templates=_templates(state.templates),
        fragments=fragments(state.fragments),
        reply_fragments=fragments(state.reply_fragments),
        turns=Layer(state.turns.get),
        races=Layer(lambda key: _race(state.races.get(key), own)),
        backends=Layer(lambda names: _count(state.backends.get(names), own)),
        paths=Layer(state.paths.get),
        told=Budget(state.told.second_s, state.told.left, dict(state.told.spent)),
        clock_us=state.clock_us,
    )


def _flows(flows: FlowTable, own: Copies) -> FlowTable:
    copied = partial(_flow, own=own)
    over = FlowTable(flows.max_flows, Layer(lambda key: copied(flows.get(key)), lambda: len(flows)))
    over.replies = Layer(lambda name: copied(flows.replies.get(name)))
    rings = flows.ports.by_name
    over.ports = SourcePorts(Layer(lambda name: copy(rings[name]) if name in rings else None, rings.__len__))
    return over


def _flow(flow: Flow | None, own: Copies) -> Flow | None:
    return None if flow is None else own.of(flow, partial(_flow_copy, own=own))


def _flow_copy(flow: Flow, own: Copies) -> Flow:
    over = Flow(flow.backend, flow.state, flow.seen_s, own.of(flow.count, copy), flow.timeouts_s)
    if flow.translation is not None:
        over.translation = replace(flow.translation, request=None, reply=None)
    return over


def _count(count: BackendCount | None, own: Copies) -> BackendCount | None:
    return None if count is None else own.of(count, copy)


def _race(race: Race | None, own: Copies) -> Race | None:
    if race is None:
        return None
    counts = tuple(own.of(one, copy) for one in race.counts)
    return replace(race, counts=counts, due=dict(race.due))


def _templates(templates: TemplateTable) -> TemplateTable:
    def below(key: bytes) -> Template | None:
        one = templates.get(key)
        return None if one is None else copy(one)

    return TemplateTable(templates.max_templates, Layer(below, lambda: len(templates)))


def fragments(table: FragmentTable) -> FragmentTable:
    """Return such a table of datagrams in pieces."""

    def below(key: bytes) -> Datagram | None:
        one = table.get(key)
        return None if one is None else replace(one, held=list(one.held))

    over = FragmentTable(table.max_datagrams, table.max_held_bytes, Layer(below, lambda: len(table)))
    over.held_bytes = table.held_bytes
    return over

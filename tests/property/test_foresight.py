"""Is what is told of a frame beforehand what then becomes of it, and does telling change nothing?"""

from __future__ import annotations

import json
import os
from random import Random

from parity import memory
from parity.hunting import SECONDS, few_slots
from parity.settings import changed, draw
from parity.traffic import Traffic

from dsrlb.admin.explained import Around, explained
from dsrlb.datapath import process
from dsrlb.foresight.foretold import Foretold, Scene, foretell
from dsrlb.foresight.overlay import overlay
from dsrlb.model import Reason
from dsrlb.state import State, expire, forget_others
from dsrlb.table import EMPTY, ForwardingTable
from dsrlb.transition import carry

MODES = "l2dsr", "l3dsr", "inline"
FRAMES, STORY_FRAMES, COMPARED_EVERY = 20_000, 250, 50
EXPLAINED_EVERY = 16
SEED = int(os.environ.get("DSRLB_PARITY_SEED", "1"))


class Balancer:
    """A data path of its own."""

    def __init__(self) -> None:
        self.state, self.table, self.now_s = State(), EMPTY, 1000

    def install(self, table: ForwardingTable) -> None:
        self.table = carry(self.table, table, self.now_s)
        forget_others(self.state, self.table)

    def wait(self, seconds: int) -> None:
        self.now_s += seconds
        expire(self.state, self.now_s)

    def foretell(self, frame: bytes, ifindex: int) -> Foretold:
        return foretell(frame, ifindex, Scene(self.table, self.now_s, lambda: overlay(self.state)))

    def remembers(self) -> list[object]:
        """Return all that the state remembers, in a form that can be compared."""
        state, now_s = self.state, self.now_s
        return [
            memory.specified_flows(state, now_s),
            memory.specified_templates(state, self.table, now_s),
            memory.specified_datagrams(state, self.table, now_s),
            memory.specified_translations(state, now_s),
            memory.specified_rings(state),
            memory.specified_cells(state, self.table),
            memory.specified_counts(state, self.table),
            {key: race.due for key, race in state.races.items()},
            (dict(state.turns), list(state.reasons), state.flows.refused, state.told, dict(state.paths)),
        ]


def change(after: list[int], before: list[int]) -> dict[Reason, int]:
    return {one: after[one] - before[one] for one in Reason if after[one] != before[one]}


def test_frames_meet_what_was_foretold_and_telling_changes_nothing() -> None:
    with few_slots():
        for number in range(FRAMES // STORY_FRAMES):
            tell_story(Random(f"{SEED} foresight {number}"))


def tell_story(rng: Random) -> None:
    asked, never_asked = Balancer(), Balancer()
    setting = draw(rng, MODES)
    traffic = Traffic(rng, setting.services)
    for balancer in (asked, never_asked):
        balancer.install(setting.compiled())
    for number in range(1, STORY_FRAMES + 1):
        chance = rng.random()
        if chance < 0.02:
            setting = changed(rng, setting, MODES)
            traffic.aim(setting.services)
            for balancer in (asked, never_asked):
                balancer.install(setting.compiled())
        elif chance < 0.04:
            seconds = rng.choice(SECONDS)
            for balancer in (asked, never_asked):
                balancer.wait(seconds)
        frame, ifindex = traffic.next()
        told = meet(asked, frame, ifindex)
        if number % EXPLAINED_EVERY == 0:
            assert json.dumps(explained(told, frame, ifindex, Around(setting.services, {}, "packet")))
        traffic.saw(process(frame, ifindex, never_asked.table, never_asked.state, never_asked.now_s))
        never_asked.state.released.clear()
        if number % COMPARED_EVERY == 0:
            assert asked.remembers() == never_asked.remembers()


def meet(balancer: Balancer, frame: bytes, ifindex: int) -> Foretold:
    """Have it told what would come of a frame, let it come, and compare; return what was told."""
    told, state = balancer.foretell(frame, ifindex), balancer.state
    reasons = list(state.reasons)
    sent = {names: count.packets for names, count in state.backends.items()}
    verdict = process(frame, ifindex, balancer.table, state, balancer.now_s)
    assert told.verdict == verdict, frame.hex()
    assert list(told.released) == state.released, frame.hex()
    assert told.moved == change(state.reasons, reasons), frame.hex()
    state.released.clear()
    more = {names for names, count in state.backends.items() if count.packets > sent.get(names, 0)}
    if more:
        assert told.target is not None and told.target.key in {backend for _, backend in more}
    check_record(told, balancer)
    return told


def check_record(told: Foretold, balancer: Balancer) -> None:
    """Compare the record that a flow was foretold to have."""
    flow = balancer.state.flows.get(told.subject.key) if told.subject.key is not None else None
    assert (flow is None) == (told.after is None)
    if flow is not None and told.after is not None:
        left_s = flow.timeouts_s[flow.state] - (balancer.now_s - flow.seen_s)
        assert (flow.backend, flow.state, left_s) == (
            told.after.backend,
            told.after.state,
            told.after.left_s,
        )

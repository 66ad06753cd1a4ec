"""Does every golden story come true in the program, as in the specification?"""

from __future__ import annotations

import packets
import pytest
from golden_stories import STORIES, changed_by, moment_of, person_handshakes, table_of
from parity.ground import LEAST_BYTES
from parity.twins import Differ, Twins


def tell(twins: Twins, name: str) -> None:
    """Tell a story; raises ``Differ``."""
    story = STORIES[name]
    twins.begin()
    twins.install(table_of(story))
    for number, frame in enumerate(story["frames"], 1):
        at_s, at_us = moment_of(frame)
        twins.be_at(at_s, at_us)
        if at_s:
            twins.sweep()
        changed = changed_by(story, frame)
        if changed is not None:
            story = changed
            twins.install(table_of(story))
        raw, came_by = bytes.fromhex(frame["hex"]), getattr(packets, frame.get("came_by", "IFINDEX"))
        if len(raw) < LEAST_BYTES:
            continue
        try:
            verdict = twins.step(raw, came_by)
            twins.compare()
        except Differ as difference:
            raise Differ(f"frame {number}: {difference}") from None
        assert verdict[1].word == frame["reason"]
    assert person_handshakes(twins.handshakes()) == story.get("handshakes", {})


@pytest.mark.parametrize("name", STORIES)
def test_the_story_comes_true(name: str, twins: Twins) -> None:
    tell(twins, name)

"""Whatever comes in whatever order, each handshake has one outcome: that of a model which forgets nothing."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from dsrlb.sampling import CELLS, SILENT_US, HandshakeTable, bucket_of, cell_of, tag_of
from dsrlb.standing import Names
from dsrlb.wire import l4

LAW = settings(max_examples=300, deadline=None, derandomize=True)
MAPPED = bytes(10) + b"\xff\xff"
NAMES: list[Names] = [(b"s", b"a"), (b"s", b"b"), (b"t", b"a")]


def key(sport: int) -> bytes:
    addresses = MAPPED + bytes((198, 18, 0, 2)) + MAPPED + bytes((198, 18, 1, 100))
    return addresses + sport.to_bytes(2, "big") + b"\0\x50\x06\0\0\0"


CROWDED = cell_of(tag_of(key(40_000)))
CROWD = [key(sport) for sport in range(65_536) if cell_of(tag_of(key(sport))) == CROWDED][:3]
Steps = list[tuple[bytes, Names, int | None, int]]
KEYS = [*CROWD, key(1), key(2)]
FLAGS = [l4.SYN, l4.SYN, l4.ACK, l4.ACK, l4.ACK | 8, l4.RST, l4.RST | l4.ACK, l4.FIN | l4.ACK]
FLAGS += [l4.SYN | l4.ACK, l4.SYN | l4.RST, l4.SYN | l4.FIN, l4.FIN, 0, 0xFF]
SERVERS_RESET = None
STEPS = st.lists(
    st.tuples(
        st.sampled_from(KEYS),
        st.sampled_from(NAMES),
        st.sampled_from([*FLAGS, SERVERS_RESET]),
        st.sampled_from([0, 1, 90, 20_000, 1_000_000, SILENT_US, SILENT_US + 1]),  # later
    ),
    max_size=60,
)


@dataclass
class Story:
    """One handshake from its SYN to its end."""

    key: bytes
    names: Names
    began_us: int
    again: bool = False
    end: str = ""  # nothing yet


def told_by_model(steps: Steps) -> tuple[list[Story], int]:
    """Return every handshake that is looked at, as the specification has it, and the time at the end."""
    stories: list[Story] = []
    now_us = 0
    for of, names, flags, later_us in steps:
        now_us += later_us
        open_ones = [one for one in stories if not one.end]
        mine = next((one for one in open_ones if one.key == of), None)
        rival = next((one for one in open_ones if cell_of(tag_of(one.key)) == cell_of(tag_of(of))), None)
        if flags is not None and flags & 0x17 == l4.SYN:
            if mine is not None and mine.names == names:
                mine.again = True
            elif rival is None or rival is mine or now_us - rival.began_us > SILENT_US:
                if rival is not None:
                    rival.end = "silent"
                stories.append(Story(of, names, now_us))
        elif mine is not None and (flags is None or flags & l4.RST):
            mine.end = "reset"
        elif mine is not None and flags is not None and flags & l4.ACK:
            mine.end = f"answered {now_us - mine.began_us}"
    return stories, now_us


def take(table: HandshakeTable, steps: Steps) -> int:
    now_us = 0
    for of, names, flags, later_us in steps:
        now_us += later_us
        if flags is None:
            table.reply_reset(of)
        else:
            table.request(of, names, flags, now_us)
        assert table.cells.keys() <= set(range(CELLS))
    return now_us


@LAW
@given(STEPS)
def test_each_handshake_is_counted_as_what_became_of_it(
    steps: Steps,
) -> None:
    table = HandshakeTable()
    assert take(table, steps) == told_by_model(steps)[1]
    stories, now_us = told_by_model(steps)
    seen = table.seen(now_us)
    assert seen.keys() == {one.names for one in stories}
    for names, one in seen.items():
        mine = [story for story in stories if story.names == names]
        once = [story for story in mine if not story.again]
        ends = Counter(story.end.split()[0] for story in once if story.end)
        assert one.opened == len(mine)
        assert one.answered == sum(story.end.startswith("answered") for story in mine)
        assert one.again == len(mine) - len(once)
        assert (one.reset, one.silent) == (ends["reset"], ends["silent"])
        took = Counter(bucket_of(int(story.end.split()[1])) for story in once if "answered" in story.end)
        assert {at: count for at, count in enumerate(one.times) if count} == took
        waits_us = [now_us - story.began_us for story in once if not story.end]
        assert sorted(one.waiting_us) == sorted(us for us in waits_us if us <= SILENT_US)


@LAW
@given(STEPS)
def test_what_was_opened_is_what_ended_and_what_is_still_open(
    steps: Steps,
) -> None:
    table = HandshakeTable()
    now_us = take(table, steps)
    for names, one in table.seen(now_us).items():
        open_ones = sum(cell.names == names and not cell.again for cell in table.cells.values())
        assert one.opened == sum(one.times) + one.again + one.reset + one.silent + open_ones
        assert sum(one.times) <= one.answered <= sum(one.times) + one.again

"""Is what is durable read as it was written, and what is wrong with a file one sentence?"""

from __future__ import annotations

import json
import queue
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsrlb.control.durable import Durable
from dsrlb.control.kept import MOST_TOLD, NOTHING, Kept, Unfit, after, read, written
from dsrlb.errors import DsrlbError
from dsrlb.standing import CONFIGURED, Wish

A, B, C = (b"web", b"rs1"), (b"web", b"rs2"), (b"web", b"rs9")
PEOPLE = {("198.18.1.100:80/tcp", "198.18.1.11"): A, ("198.18.1.100:80/tcp", "198.18.1.12"): B}
RS1 = {"service": "198.18.1.100:80/tcp", "backend": "198.18.1.11"}
WAIT_S = 10.0


def file_of(*entries: Any, **more: Any) -> bytes:
    return json.dumps({"version": 1, "backends": list(entries), **more}).encode()


def test_what_is_written_is_read_again_and_what_is_as_configured_is_left_out() -> None:
    kept = {A: Kept(drained=True, until=1.5, weight=7), B: Kept(enabled=False)}
    assert read(written(kept, PEOPLE), PEOPLE) == (kept, {}, [])
    assert read(written({A: NOTHING}, PEOPLE), PEOPLE) == ({}, {}, [])
    assert read(written({(b"gone", b"rs9"): Kept(drained=True)}, PEOPLE), PEOPLE) == ({}, {}, [])


def test_a_wish_changes_what_it_names_alone() -> None:
    drained = after(Kept(weight=5), Wish(drained=True), 9.0)
    assert drained == Kept(weight=5, drained=True, until=9.0)
    assert after(drained, Wish(drained=True), None) == Kept(weight=5, drained=True)
    assert after(drained, Wish(weight=CONFIGURED), 12.0) == Kept(drained=True, until=9.0)
    assert after(drained, Wish(enabled=False), None) == Kept(weight=5, drained=True, until=9.0, enabled=False)
    assert after(drained, Wish(drained=False), None) == Kept(weight=5)


def test_a_drain_whose_end_came_while_nobody_looked_is_over() -> None:
    kept = Kept(drained=True, until=100.0)
    assert (kept.wish(99.0).gone, kept.wish(100.0).gone, Kept(drained=True).wish(1e12).gone) == (
        False,
        True,
        False,
    )
    assert NOTHING.wish(0) == Wish(enabled=True, drained=False, weight=CONFIGURED, gone=False)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "no JSON"),
        (b"{", "no JSON"),
        (b"\xff\xfe", "no JSON"),
        (b"[" * 100_000, "no JSON"),
        (b"[]", "dsrlb did not write it"),
        (b"{}", "dsrlb did not write it"),
        (b'{"version": 1, "backends": {}}', "dsrlb did not write it"),
        (b'{"version": 2, "backends": []}', "of version 2, and this dsrlb knows 1"),
    ],
)
def test_a_file_that_cannot_be_used_says_why(content: bytes, why: str) -> None:
    with pytest.raises(Unfit, match=why):
        read(content, PEOPLE)


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        (7, "no object"),
        ({}, "does not name its service and backend"),
        ({**RS1, "backend": ["198.18.1.11"]}, "does not name its service and backend"),
        (
            {**RS1, "backend": "198.18.1.99", "weight": "x"},
            "'198.18.1.99' of '198.18.1.100:80/tcp' is malformed",
        ),
        ({**RS1, "weight": -1}, "malformed"),
        ({**RS1, "weight": True}, "malformed"),
        ({**RS1, "weight": 65_536}, "malformed"),
        ({**RS1, "drained": 1}, "malformed"),
        ({**RS1, "enabled": None}, "malformed"),
        ({**RS1, "until": "soon"}, "malformed"),
        ({**RS1, "until": float("nan")}, "malformed"),
        ({**RS1, "until": 10**400}, "malformed"),
        ({**RS1, "until": -1}, "malformed"),
        ({**RS1, "weight": 10**400}, "malformed"),
        ({**RS1, "colour": "red"}, "malformed"),
    ],
)
def test_an_entry_that_cannot_be_used_is_left_out_and_told_of(entry: Any, why: str) -> None:
    good = {"service": "198.18.1.100:80/tcp", "backend": "198.18.1.12", "weight": 3}
    kept, others, wrong = read(file_of(entry, good), PEOPLE)
    assert kept == {B: Kept(weight=3)} and others == {}
    assert len(wrong) == 1 and why in wrong[0] and "left out" in wrong[0]


def test_many_wrong_entries_are_a_few_sentences() -> None:
    *_, wrong = read(file_of(*[{"backend": "x"}] * 100), PEOPLE)
    assert len(wrong) == MOST_TOLD + 1 and wrong[-1] == "92 more entries are like that"


def test_of_a_backend_that_is_not_configured_all_is_kept_until_it_is() -> None:
    content = file_of({**RS1, "weight": 3}, {**RS1, "backend": "198.18.1.99", "drained": True, "until": 5})
    kept, others, wrong = read(content, PEOPLE)
    assert kept == {A: Kept(weight=3)}
    assert wrong == [
        "backend '198.18.1.99' of '198.18.1.100:80/tcp' is not configured; what is kept of it stays there"
    ]
    assert read(written({B: Kept(weight=9)}, PEOPLE, others), PEOPLE) == ({B: Kept(weight=9)}, others, wrong)
    people = {**PEOPLE, ("198.18.1.100:80/tcp", "198.18.1.99"): C}
    assert read(written(kept, PEOPLE, others), people)[0][C] == Kept(drained=True, until=5)
    assert read(written(kept, people, others), people)[0] == kept, "a reload brought it: it is as configured"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just(10**400),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
WORDS = st.fixed_dictionaries(
    {},
    optional={
        "service": st.just(RS1["service"]) | JSON,
        "backend": st.just(RS1["backend"]) | JSON,
        **dict.fromkeys(("drained", "until", "enabled", "weight", "colour"), JSON),
    },
)
FILES = st.fixed_dictionaries(
    {"version": st.just(1) | JSON, "backends": st.lists(WORDS | JSON, max_size=5) | JSON}
)


@given((JSON | FILES).map(lambda whole: json.dumps(whole).encode()) | st.binary(max_size=60))
def test_whatever_a_file_says_it_is_unfit_or_what_is_right_of_it_can_be_used_and_written(
    content: bytes,
) -> None:
    try:
        kept, others, wrong = read(content, PEOPLE)
    except Unfit as unfit:
        assert str(unfit)
        return
    for one in kept.values():
        one.wish(1e9)
    assert all("\n" not in sentence for sentence in wrong)
    again, still, _ = read(written(kept, PEOPLE, others), PEOPLE)
    assert again == {names: one for names, one in kept.items() if one != NOTHING}
    assert still == {person: one for person, one in others.items() if one != NOTHING}


@pytest.mark.parametrize("depth", [200, 600, 950, 5000])
def test_a_file_of_any_depth_is_unfit_or_read(depth: int) -> None:
    deep = "[" * depth + "]" * depth
    for words in ('"version": %s, "backends": []', '"version": 1, "backends": [{"service": %s}]'):
        with suppress(Unfit):
            assert len(read(("{" + words % deep + "}").encode(), PEOPLE)[2]) == 1


# ----------------------------------------------------------------------------- on the disk


class Told:
    """What was told of changes that were to be durable."""

    def __init__(self, durable: Durable) -> None:
        self.durable = durable
        self.told: queue.Queue[DsrlbError | None] = queue.Queue()

    def keep(self, **kept: Any) -> DsrlbError | None:
        self.durable.change(lambda of: {**of, A: Kept(**kept)}, PEOPLE, self.told.put)
        return self.told.get(timeout=WAIT_S)


def test_a_change_is_on_the_disk_when_it_is_told(tmp_path: Path) -> None:
    durable = Durable(tmp_path / "state" / "default.json")
    durable.load(PEOPLE)
    assert durable.of == {} and not durable.path.exists()
    assert Told(durable).keep(weight=7) is None and durable.of == {A: Kept(weight=7)}
    durable.close()
    again = Durable(durable.path)
    again.load(PEOPLE)
    assert again.of == {A: Kept(weight=7)}
    again.close()


def test_what_cannot_be_written_is_told_and_not_taken_for_durable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    durable = Durable(tmp_path / "file" / "default.json")
    error = Told(durable).keep(weight=7)
    assert str(error).startswith(f"{durable.path} cannot be written (") and durable.of == {}
    durable.close()


def test_an_unfit_file_is_told_of_once_and_put_aside_by_the_next_change(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "default.json"
    path.write_text("hello")
    durable = Durable(path)
    durable.load(PEOPLE)
    assert [one.getMessage() for one in caplog.records] == [
        f"what was made durable is lost: {path} cannot be used: it is no JSON"
    ]
    assert Told(durable).keep(weight=7) is None
    assert (tmp_path / "default.json.unfit").read_text() == "hello"
    assert read(path.read_bytes(), PEOPLE)[0] == {A: Kept(weight=7)}
    durable.close()


def test_a_folder_in_the_place_of_the_file_is_a_sentence(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    durable = Durable(tmp_path)
    durable.load(PEOPLE)
    assert "no regular file" in caplog.text and durable.of == {}


def test_a_second_instance_of_the_name_writes_nothing_and_says_what_to_do(tmp_path: Path) -> None:
    first, second = Durable(tmp_path / "default.json"), Durable(tmp_path / "default.json")
    for one in (first, second):
        one.load(PEOPLE)
    assert Told(first).keep(weight=7) is None
    error = Told(second).keep(weight=9)
    assert str(error) == (
        f"{second.path} is another dsrlb's; start this one with a name of its own (--instance), "
        "or with another folder (--state-dir)"
    )
    first.close()
    assert Told(second).keep(weight=9) is not None, "it does not know what the first one wrote"
    assert read(second.path.read_bytes(), PEOPLE)[0] == {A: Kept(weight=7)} and second.of == {}
    second.close()
    third = Durable(second.path)
    third.load(PEOPLE)
    assert Told(third).keep(weight=9) is None
    third.close()


def test_a_change_leaves_what_is_kept_of_backends_that_are_not_configured_now(tmp_path: Path) -> None:
    path = tmp_path / "default.json"
    path.write_bytes(file_of({**RS1, "backend": "198.18.1.99", "weight": 3}))
    durable = Durable(path)
    durable.load(PEOPLE)
    for weight in (7, 8):
        assert Told(durable).keep(weight=weight) is None
    assert read(path.read_bytes(), PEOPLE)[1] == {("198.18.1.100:80/tcp", "198.18.1.99"): Kept(weight=3)}
    durable.close()

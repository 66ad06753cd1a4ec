"""Is what a program's maps held refused where it does not fit, before anything is written?"""

from __future__ import annotations

import logging
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from dsrlb.engines.framed import BrokenRecords, framed
from dsrlb.engines.handover import here
from dsrlb.engines.xdp import handing, layout
from dsrlb.engines.xdp.handing import ARRAYS, HASHES, MAGIC, unpack
from dsrlb.engines.xdp.sizes import Sizes

SIZES = Sizes(front=64, vips=32, services=128, targets=256, slots=1000, flows=16)
NAMES = (*ARRAYS, *HASHES)


def header(**more: object) -> dict[str, object]:
    maps = {name: [1, 4, 8] for name in NAMES}
    told = {"where": here(), "saved_s": 0, "layout": layout.LAYOUT, "sizes": asdict(SIZES), "maps": maps}
    return {**told, **more}


def packed(**more: object) -> bytes:
    return framed(MAGIC, header(**more), [bytes(12)] * len(NAMES))


def test_every_map_that_is_kept_is_handed_on_but_for_what_is_counted_or_passes_soon() -> None:
    counted, passing = {"counts", "reasons", "handshakes"}, {"cells", "fragments", "reply_fragments"}
    own = {"setup", "flow_locks"}  # of each program
    assert set(layout.KEPT) == {*NAMES, *counted, *passing, *own}


def test_keys_and_values_of_each_map_are_cut_out() -> None:
    left = unpack(packed())
    assert left.sizes == SIZES and left.parts.keys() == set(NAMES)
    assert {(keys.shape, rows.shape) for keys, rows in left.parts.values()} == {((1, 4), (1, 8))}


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"layout": layout.LAYOUT + 1}, "another version"),
        ({"maps": {}}, "does not fit together"),
        ({"maps": {name: [1 << 40, 4, 8] for name in NAMES}}, "does not fit together"),
        ({"maps": {name: ["x", 4, 8] for name in NAMES}}, "does not fit together"),
        ({"sizes": {"front": 1}}, "does not fit together"),
    ],
)
def test_what_does_not_fit_is_refused_with_a_word(more: dict[str, object], words: str) -> None:
    with pytest.raises(BrokenRecords, match=words):
        unpack(packed(**more))


def test_maps_that_are_too_small_now_are_left_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "dsrlb")
    at, now_s = tmp_path / "one.maps", int(time.monotonic())
    at.write_bytes(packed(saved_s=now_s))
    assert handing.found(at, SIZES) is not None
    assert handing.found(at, replace(SIZES, flows=32)) is None
    assert handing.found(None, SIZES) is None
    assert [one.levelname for one in caplog.records] == ["INFO"]
    assert "too small" in caplog.text

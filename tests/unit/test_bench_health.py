"""Does the benchmark of checks judge what it has measured?"""

from __future__ import annotations

import pytest

from dsrlb.bench.health import Turn, report


@pytest.mark.parametrize(
    ("turn", "is_met"),
    [
        (Turn("tcp", "by the path", 500, 20.0, 526.0, is_late=False), True),
        (Turn("tcp", "by the path", 500, 25.1, 526.0, is_late=False), False),
        (Turn("tcp", "by the path", 500, 20.0, 499.0, is_late=False), False),
        (Turn("tcp", "by the path", 500, 20.0, 526.0, is_late=True), False),
        (Turn("http", "directly", 500, 40.0, 526.0, is_late=False), True),
    ],
)
def test_a_turn_meets_its_bar_or_not(turn: Turn, is_met: bool) -> None:
    assert turn.is_met is is_met
    line = list(report([turn]))[1]
    assert turn.kind in line and f"{turn.percent:.1f} %" in line
    assert line.endswith("late") is (turn.is_late or turn.asked_a_second < turn.servers)

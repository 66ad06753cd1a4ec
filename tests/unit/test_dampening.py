"""Do rise and fall keep one answer out of turn from changing anything?"""

from __future__ import annotations

from dsrlb.health.base import PASSED, Outcome
from dsrlb.health.dampening import Damped, heard

REFUSED, SILENT = Outcome("refused"), Outcome("no_answer", "none within 1 s")
RISE, FALL = 2, 3


def after(state: Damped, *outcomes: Outcome) -> Damped:
    for one in outcomes:
        state = heard(state, one, RISE, FALL)
    return state


UP, DOWN = Damped(PASSED), Damped(REFUSED)


def test_a_server_is_down_after_fall_failures_in_a_row_and_not_before() -> None:
    assert after(UP, REFUSED, REFUSED).holds == PASSED
    assert after(UP, REFUSED, REFUSED, PASSED, REFUSED, REFUSED).holds == PASSED
    assert after(UP, REFUSED, REFUSED, REFUSED).holds == REFUSED


def test_failures_of_several_kinds_count_together_and_the_last_one_names_the_reason() -> None:
    assert after(UP, REFUSED, REFUSED, SILENT).holds == SILENT


def test_a_server_is_up_after_rise_passed_checks_in_a_row_and_not_before() -> None:
    assert after(DOWN, PASSED).holds == REFUSED
    assert after(DOWN, PASSED, REFUSED, PASSED).holds == REFUSED
    assert after(DOWN, PASSED, PASSED).holds == PASSED


def test_another_reason_takes_over_after_fall_failures() -> None:
    assert after(DOWN, SILENT, SILENT, REFUSED, SILENT, SILENT).holds == REFUSED
    assert after(DOWN, SILENT, SILENT, SILENT).holds == SILENT


def test_the_first_answer_decides() -> None:
    for outcome in (PASSED, REFUSED):
        assert after(Damped(PASSED, is_fresh=True), outcome) == Damped(outcome)


def test_a_change_of_up_or_down_is_in_the_air_only_while_answers_speak_for_it() -> None:
    assert not UP.is_changing and not DOWN.is_changing
    assert after(UP, REFUSED).is_changing and after(DOWN, PASSED).is_changing
    assert not after(UP, REFUSED, PASSED).is_changing
    assert not after(DOWN, SILENT).is_changing

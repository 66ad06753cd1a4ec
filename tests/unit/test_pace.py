"""Is a server that is silent down in time, however its check is configured?"""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from dsrlb.health.pace import in_time
from dsrlb.model import Check

PROMISED_BEYOND_S = 0.5


def worst_s(check: Check) -> float:
    """Return how long a server goes on that falls silent just when a check has passed."""
    at_s = check.interval_s
    for _ in range(check.fall - 1):
        at_s += max(check.fast_interval_s, check.timeout_s)
    return at_s + check.timeout_s


CHECKS = st.builds(
    lambda interval, timeout, fast, fall: Check(
        "tcp",
        interval_s=interval,
        timeout_s=max(0.01, interval * timeout),
        fast_interval_s=max(0.05, interval * fast),
        fall=fall,
    ),
    st.floats(0.1, 3600), st.floats(0, 1), st.floats(0, 1), st.integers(1, 100),
)  # fmt: skip


@given(CHECKS)
def test_a_silent_server_is_down_within_fall_intervals_and_half_a_second(check: Check) -> None:
    made = in_time(check)
    assert worst_s(made) <= check.fall * check.interval_s + PROMISED_BEYOND_S - 0.2


@given(CHECKS)
def test_no_server_is_asked_more_than_twice_as_often_and_none_is_given_more_time(check: Check) -> None:
    made = in_time(check)
    assert check.interval_s / 2 <= made.interval_s + 1e-9 and made.interval_s <= check.interval_s
    assert 0 < made.timeout_s <= check.timeout_s and 0 < made.fast_interval_s <= check.fast_interval_s
    assert replace(made, interval_s=0, timeout_s=0, fast_interval_s=0) == replace(
        check, interval_s=0, timeout_s=0, fast_interval_s=0
    )


def test_the_defaults_are_in_time_as_they_are() -> None:
    check = Check("tcp", interval_s=1.0, timeout_s=0.5, fast_interval_s=0.25, fall=3)
    assert in_time(check) == check

"""When a server is asked, and how long an answer is waited for, so that it is down in time.

However a service is configured, a server that has ceased to answer is down within ``fall`` intervals and
half a second.  At worst it fails just when a check has passed, and each check takes its whole time-out::

    |<---- interval ---->|<- time-out ->|<- time-out ->|  ...  |<- time-out ->|
    ok                   x              x                      x              down
                         |<---- fast interval, if that is longer ---->|

So where this takes longer, the fast interval is shortened, then the interval, to a half at most; and a
time-out for which that is not enough.  Pure.
"""

from __future__ import annotations

from dataclasses import replace

from dsrlb.model import Check

SLACK_S = 0.25  # of the half second: the rest is for the control loop


def in_time(check: Check) -> Check:
    """Return a check with the times that it is made by."""
    interval_s, fall = check.interval_s, check.fall
    timeout_s = min(check.timeout_s, ((fall - 0.5) * interval_s + SLACK_S) / fall)
    fast_s, late_s = check.fast_interval_s, max(0.0, timeout_s - SLACK_S)
    if fall > 1:
        fast_s = min(fast_s, max(timeout_s, interval_s - late_s / (fall - 1)))
    rest_s = fall * interval_s + SLACK_S - timeout_s - (fall - 1) * max(fast_s, timeout_s)
    return replace(check, timeout_s=timeout_s, fast_interval_s=fast_s, interval_s=min(interval_s, rest_s))

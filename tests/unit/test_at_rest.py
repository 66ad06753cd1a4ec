"""Does an engine's thread do what is asked of it, and tell who asked what went wrong?"""

from __future__ import annotations

import threading

import pytest

from dsrlb.engines import at_rest
from dsrlb.engines.at_rest import AtRest
from dsrlb.errors import HostError


class Working(threading.Thread):
    """A thread that calls what waits whenever it is woken."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.woken, self.is_over = threading.Semaphore(0), False
        self.asked = AtRest(self, self.woken.release)

    def run(self) -> None:
        while self.woken.acquire() and not self.is_over:
            self.asked.run()

    def end(self) -> None:
        self.is_over = True
        self.woken.release()
        self.join()


def test_it_is_done_on_the_thread_and_errors_are_whose_who_asked() -> None:
    working = Working()
    working.start()
    try:
        assert working.asked.call(threading.current_thread) is working
        with pytest.raises(ZeroDivisionError):
            working.asked.call(lambda: 1 // 0)
        assert working.asked.call(lambda: 7) == 7
    finally:
        working.end()


def test_without_the_thread_nobody_has_to_wait() -> None:
    assert Working().asked.call(threading.current_thread) is threading.current_thread()


def test_a_thread_without_time_is_said_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(at_rest, "ANSWER_WITHIN_S", 0.01)
    working = Working()
    working.start()
    try:
        never = AtRest(working, lambda: None)
        with pytest.raises(HostError, match="no time to answer"):
            never.call(lambda: 1)
    finally:
        working.end()

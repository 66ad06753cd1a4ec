"""What is asked of an engine's thread: done between two batches of frames, while whoever asks waits."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as TooLate  # one of its own before Python 3.11
from typing import Any

from dsrlb.engines.base import Answer
from dsrlb.errors import HostError

ANSWER_WITHIN_S = 5.0


class AtRest:
    """Functions that wait to be called by a thread."""

    def __init__(self, thread: threading.Thread, wake: Callable[[], None]) -> None:
        """``wake`` lets the thread call ``run`` soon; while it does not live, nobody has to wait for it."""
        self._thread, self._wake = thread, wake
        self._waiting: deque[tuple[Future[Any], Callable[[], Any]]] = deque()

    def call(self, do: Callable[[], Answer]) -> Answer:
        """Return what a function returns.  Raises what it raises; HostError: the thread had no time."""
        if not self._thread.is_alive():
            return do()
        done: Future[Answer] = Future()
        self._waiting.append((done, do))
        self._wake()
        try:
            return done.result(ANSWER_WITHIN_S)
        except TooLate:
            raise HostError(f"The engine had no time to answer within {ANSWER_WITHIN_S:g} s.") from None

    def run(self) -> None:
        """Call those that wait; on the thread."""
        while self._waiting:
            done, do = self._waiting.popleft()
            try:
                done.set_result(do())
            except Exception as error:  # whoever asked is told; frames go on
                done.set_exception(error)

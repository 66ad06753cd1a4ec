"""Is a HAProxy that hangs told of once, and that it is back?"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from dsrlb.control.proxy_silence import Silence


def test_who_hangs_is_told_of_once_after_a_while_and_so_is_that_it_answers_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    process: Any = SimpleNamespace(pid=811, lost="")
    silence = Silence()
    for tenth in range(300):
        silence.look(process, 10.0 if 100 <= tenth < 200 else None, tenth / 10)
        if tenth < 149:
            assert not caplog.messages
    assert len(caplog.messages) == 2 and caplog.messages[1] == "HAProxy answers again"
    assert "(process 811) has not answered for 5 s: it is not killed" in caplog.messages[0]


def test_one_whose_sockets_are_gone_is_told_of_with_what_to_do(caplog: pytest.LogCaptureFixture) -> None:
    process: Any = SimpleNamespace(pid=811, lost="its sockets in /run/x are gone. End it (kill 811).")
    Silence().look(process, 0.0, 7.0)
    assert "for 7 s: its sockets in /run/x are gone. End it (kill 811)." in caplog.messages[0]

"""Is HAProxy reloaded where it must be and only there, and is the end of a long reload told?"""

from __future__ import annotations

import contextlib
import logging
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from check_servers import eventually, free_port
from golden_haproxy import needs_haproxy
from haproxy_here import DEADLINE_S, bad_words, connects, service

from dsrlb.control import proxy_written
from dsrlb.control.proxied import Proxied
from dsrlb.engines.haproxy import process as process_module
from dsrlb.engines.haproxy.process import Process
from dsrlb.proxying import NO_PROXY
from dsrlb.standing import ALL_UP

pytestmark = needs_haproxy

CERTIFICATE = Path(__file__).parents[1] / "certificate" / "server.pem"


def test_what_differs_only_in_how_servers_stand_takes_no_reload(proxied: Proxied) -> None:
    one = service(free_port())
    proxied.change_to([one], "lo", ALL_UP)
    heavier = replace(one, backends=(replace(one.backends[0], weight=7),))
    proxied.change_to([heavier], "lo", ALL_UP)
    assert proxied.reloads == 0 and proxied.services == (heavier,)
    proxied.change_to([replace(one, proxy=replace(NO_PROXY, idle_timeout_s=9))], "lo", ALL_UP)
    assert proxied.reloads == 1 and "9000ms" in proxied.text()


def test_what_was_tried_is_not_checked_once_more_and_what_differs_is(
    proxied: Proxied, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = service(free_port()), service(free_port())
    proxied.prepare([one])
    checks: list[Path] = []
    monkeypatch.setattr(proxy_written, "check", lambda _, file: checks.append(file))
    proxied.change_to([one], "lo", ALL_UP)
    tried = proxied.trial(ALL_UP)([one, other])
    proxied.change_to([one, other], "lo", ALL_UP, tried)
    assert not checks and connects(other.port)
    heavier = replace(one, proxy=replace(NO_PROXY, idle_timeout_s=9))
    proxied.change_to([heavier], "lo", ALL_UP, tried)
    assert len(checks) == 1 and connects(one.port)


def test_a_certificate_that_is_taken_away_is_a_change_by_itself(proxied: Proxied, tmp_path: Path) -> None:
    sites = tmp_path / "sites"
    sites.mkdir()
    for name in ("a.pem", "b.pem"):
        shutil.copy(CERTIFICATE, sites / name)
    one = replace(service(free_port()), proxy=replace(NO_PROXY, certificates=(str(sites),)))
    proxied.change_to([one], "lo", ALL_UP)
    proxied.change_to([one], "lo", ALL_UP)
    assert not proxied.is_renewed and proxied.reloads == 0
    (sites / "b.pem").unlink()
    proxied.change_to([one], "lo", ALL_UP)
    assert proxied.is_renewed and proxied.reloads == 1


@pytest.mark.parametrize("is_right", [True, False])
def test_a_reload_that_takes_long_is_not_waited_for_and_its_end_is_told(
    proxied: Proxied, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, is_right: bool
) -> None:
    caplog.set_level(logging.INFO)
    first, second = service(free_port()), service(free_port())
    proxied.change_to([first], "lo", ALL_UP)
    with monkeypatch.context() as patch, contextlib.nullcontext() if is_right else bad_words():
        patch.setattr(process_module, "RELOAD_WITHIN_S", 0.3)
        answers = Process.workers
        asked = iter([True])  # before the reload; it is silent then
        patch.setattr(
            Process, "workers", lambda self, *words: answers(self, *words) if next(asked, False) else None
        )
        proxied.change_to([first, second], "lo", ALL_UP)
        assert "is still loading" in caplog.text and proxied.services == (first, second)
    end = "HAProxy has loaded" if is_right else "goes on as before (unknown keyword 'bogus'"

    def is_told() -> bool:
        proxied.tend()
        return end in caplog.text

    assert eventually(is_told, DEADLINE_S) and connects(first.port)
    assert connects(second.port) == is_right
    proxied.change_to([first, second], "lo", ALL_UP)
    assert connects(second.port) and proxied.reloads == (1 if is_right else 2)

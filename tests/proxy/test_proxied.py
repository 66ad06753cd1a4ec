"""Is all as it was where HAProxy does not take what it is told, and is that told in its own words?"""

from __future__ import annotations

import contextlib
import logging
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import pytest
from check_servers import eventually
from golden_haproxy import needs_haproxy

from dsrlb.control import proxy_left, proxy_trial, proxy_written
from dsrlb.control.proxied import Proxied
from dsrlb.control.proxy_left import end_left, lent_before
from dsrlb.control.proxy_trial import try_proxy
from dsrlb.engines.haproxy import process as process_module
from dsrlb.engines.haproxy import render
from dsrlb.engines.haproxy.process import Process
from dsrlb.errors import ConfigError, HostError
from dsrlb.model import Backend, Service
from dsrlb.proxying import NO_PROXY
from dsrlb.standing import ALL_UP

pytestmark = needs_haproxy

HERE = ip_address("127.0.0.1")
DEADLINE_S = 30.0
CERTIFICATE = Path(__file__).parents[1] / "certificate" / "server.pem"


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind((str(HERE), 0))
        return int(sock.getsockname()[1])


def service(port: int) -> Service:
    return Service(HERE, port, "tcp", "proxy", "rr", (Backend(HERE, port=port),), proxy=NO_PROXY)


def connects(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex((str(HERE), port)) == 0


@pytest.fixture
def proxied(tmp_path: Path) -> Iterator[Proxied]:
    made = Proxied(tmp_path / "haproxy", keeps=False)
    yield made
    made.close()
    assert not (tmp_path / "haproxy").exists()


@contextmanager
def bad_words(*, is_checked: bool = False) -> Iterator[None]:
    """Write what HAProxy does not take, and do not let it be checked before."""
    right = render.configuration
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(render, "configuration", lambda *words: right(*words) + "    bogus\n")
        if not is_checked:
            patch.setattr(proxy_written, "check", lambda *_: None)
            patch.setattr(proxy_trial, "check", lambda *_: None)
        yield


def test_a_reload_that_haproxy_refuses_changes_nothing_and_the_next_one_is_taken(
    proxied: Proxied,
) -> None:
    first, second, third = (service(free_port()) for _ in range(3))
    proxied.prepare([first])
    proxied.change_to([first], "lo", ALL_UP)
    text = proxied.places.configuration.read_text()
    with bad_words(), pytest.raises(HostError, match=r"goes on as before \(unknown keyword 'bogus'") as told:
        proxied.change_to([first, second], "lo", ALL_UP)
    assert "\n" not in str(told.value)
    assert proxied.places.configuration.read_text() == text and proxied.services == (first,)
    assert connects(first.port) and not connects(second.port)
    proxied.change_to([first, third], "lo", ALL_UP)
    assert connects(first.port) and connects(third.port)


def test_a_haproxy_that_does_not_start_is_told_in_its_words_and_leaves_nothing(proxied: Proxied) -> None:
    one = service(free_port())
    with bad_words(), pytest.raises(HostError, match=r"HAProxy does not start \(unknown keyword 'bogus'"):
        proxied.change_to([one], "lo", ALL_UP)
    assert proxied.process is None and not connects(one.port)


def test_what_haproxy_refuses_to_check_is_told_before_anything_is_touched(proxied: Proxied) -> None:
    with bad_words(is_checked=True), pytest.raises(ConfigError, match="unknown keyword 'bogus'"):
        proxied.prepare([service(free_port())])
    assert not proxied.places.configuration.exists()


def test_what_would_be_written_is_tried_without_touching_what_runs(proxied: Proxied) -> None:
    try_proxy([service(free_port())])
    with bad_words(is_checked=True), pytest.raises(ConfigError, match="unknown keyword 'bogus'"):
        try_proxy([service(free_port())])
    assert not proxied.places.folder.exists()


def test_one_that_was_left_stays_as_it_was_where_it_does_not_take_the_next_configuration(
    proxied: Proxied,
) -> None:
    first, second = service(free_port()), service(free_port())
    left = Proxied(proxied.places.folder, keeps=True)
    left.change_to([first], "lo", ALL_UP)
    text = proxied.places.configuration.read_text()
    left.close()
    with bad_words(), pytest.raises(HostError, match="goes on as before"):
        proxied.change_to([second], "lo", ALL_UP)
    proxied.close()
    assert connects(first.port) and proxied.places.configuration.read_text() == text
    assert end_left(proxied.places.folder) and not connects(first.port)


@pytest.mark.parametrize("is_link", [True, False])
def test_a_folder_to_which_others_can_write_is_not_used(tmp_path: Path, is_link: bool) -> None:
    there, folder = tmp_path / "there", tmp_path / "haproxy"
    there.mkdir(mode=0o700)
    if is_link:
        folder.symlink_to(there)
    else:
        folder.mkdir()
        folder.chmod(0o770)
    (there / "addresses.json").write_text('[["192.0.2.1", "lo"]]')
    one = Proxied(folder, keeps=False)
    for use in (lambda: one.prepare([service(free_port())]), lambda: end_left(folder)):
        with pytest.raises(ConfigError, match="no directory that this user owns") as told:
            use()
        assert "\n" not in str(told.value)
    one.change_to((), "lo", ALL_UP)
    one.close()
    assert not lent_before(folder) and folder.exists() and (there / "addresses.json").exists()


def test_what_is_at_work_in_another_namespace_is_not_ended_from_here(
    proxied: Proxied, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = service(free_port())
    left = Proxied(proxied.places.folder, keeps=True)
    left.change_to([one], "lo", ALL_UP)
    left.close()
    with monkeypatch.context() as patch:
        patch.setattr(proxy_left, "is_here", lambda _: False)
        with pytest.raises(ConfigError, match="is at work in another network namespace; end it from there"):
            end_left(proxied.places.folder)
    assert connects(one.port) and end_left(proxied.places.folder)


def test_another_one_with_the_same_files_is_refused_and_so_is_taking_back_what_is_in_use(
    proxied: Proxied,
) -> None:
    one = service(free_port())
    proxied.change_to([one], "lo", ALL_UP)
    for another in (
        lambda: Proxied(proxied.places.folder, keeps=False).prepare([one]),
        lambda: end_left(proxied.places.folder),
    ):
        with pytest.raises(ConfigError, match="give this one a name of its own"):
            another()
    assert connects(one.port)


def test_a_port_that_another_program_has_is_told_and_our_own_is_none(proxied: Proxied) -> None:
    one = service(free_port())
    proxied.change_to([one], "lo", ALL_UP)
    proxied.prepare([one])
    with socket.create_server((str(HERE), 0)) as taken:
        other = service(taken.getsockname()[1])
        with pytest.raises(ConfigError, match=f"{other.port}/tcp: another program listens there"):
            proxied.prepare([one, other])


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


def test_one_that_has_ended_is_started_again_by_the_same_words(proxied: Proxied) -> None:
    one = service(free_port())
    proxied.change_to([one], "lo", ALL_UP)
    end(proxied)
    assert eventually(lambda: is_back(proxied), DEADLINE_S) and connects(one.port)


def end(proxied: Proxied) -> None:
    """Kill the HAProxy."""
    assert proxied.process is not None and proxied.process._child is not None
    proxied.process._child.kill()


def is_back(proxied: Proxied) -> bool:
    proxied.tend()
    return proxied.revival.count == 1 and not proxied.revival.is_at_work


def test_what_it_said_long_before_its_end_is_not_why_it_ended(
    proxied: Proxied, caplog: pytest.LogCaptureFixture
) -> None:
    proxied.change_to([service(free_port())], "lo", ALL_UP)
    with proxied.places.log.open("a") as log:
        log.write("[ALERT]    (7) : config : of a reload that was refused\n")
    for _ in range(9):
        proxied.tend()
    end(proxied)
    assert eventually(lambda: is_back(proxied), DEADLINE_S)
    assert "HAProxy has ended by itself" in caplog.text and "a reload that was refused" not in caplog.text


def test_one_whose_folder_vanishes_serves_on_says_so_and_is_healed_by_its_end(
    proxied: Proxied, caplog: pytest.LogCaptureFixture
) -> None:
    one, other = service(free_port()), service(free_port())
    proxied.change_to([one], "lo", ALL_UP)
    shutil.rmtree(proxied.places.folder)
    for ask in (
        proxied.text,
        lambda: proxied.prepare([one, other]),
        lambda: proxied.change_to([one, other], "lo", ALL_UP),
    ):
        with pytest.raises(HostError, match=r"are gone\. HAProxy \(process \d+\) serves on as it is; end it"):
            ask()
    shutil.rmtree(proxied.places.folder)
    proxied.tend()
    assert connects(one.port)
    end(proxied)
    assert eventually(lambda: is_back(proxied), DEADLINE_S) and connects(one.port)
    proxied.change_to([one, other], "lo", ALL_UP)
    assert connects(other.port) and "bind ipv4@127.0.0.1" in proxied.text()
    assert caplog.text.count("not answered for") <= 1

"""Is the admin socket its owner's alone, and is what others have in its place left alone?"""

from __future__ import annotations

import fcntl
import os
import stat
from pathlib import Path

import pytest
from admin_clients import Serve, connected

from dsrlb.admin.asking import ask
from dsrlb.admin.beside import Admin
from dsrlb.admin.listening import haproxy_folder, leave, listen
from dsrlb.errors import ConfigError, HostError


def test_only_the_owner_may_open_the_socket_from_its_first_moment(at: Path) -> None:
    before = os.umask(0)
    try:
        listening = listen(at)
    finally:
        os.umask(before)
    assert stat.S_IMODE(at.stat().st_mode) == 0o600
    leave(at, listening)


def test_haproxy_is_told_whole_paths_wherever_dsrlb_was_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert haproxy_folder(Path("my.sock"), "any") == tmp_path / "my-haproxy"
    assert haproxy_folder(None, "any").is_absolute()


def test_the_socket_of_a_dead_process_is_replaced(at: Path) -> None:
    listen(at).close()  # closed without taking its file away, as by a kill
    assert at.exists()
    again = listen(at)
    assert connected(at)
    leave(at, again)
    assert not at.exists()


def test_a_living_one_is_refused_in_one_sentence_and_untouched(serve: Serve) -> None:
    path = serve()
    with pytest.raises(ConfigError, match=r"^Another dsrlb has the admin socket .*--instance.*--admin PATH"):
        listen(path)
    assert ask(path, {}) == {}


def test_where_no_socket_was_asked_for_a_second_dsrlb_runs_without_one(
    at: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = Admin(at, is_asked_for=False), Admin(at, is_asked_for=False)
    first.open()
    second.open()
    assert "Another dsrlb has the admin socket" in caplog.text and "runs without it" in caplog.text
    second.close()
    assert at.exists()
    first.close()


def test_who_holds_the_folder_s_lock_holds_nobody_up(at: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dsrlb.admin.listening.LOCK_WITHIN_S", 0.05)
    at.parent.mkdir()
    descriptor = os.open(at.parent, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        leave(at, listen(at))
    finally:
        os.close(descriptor)
    assert not at.exists()


def test_what_is_no_socket_is_left_alone(at: Path) -> None:
    at.parent.mkdir()
    at.write_text("mine")
    with pytest.raises(ConfigError, match="another file is there"):
        listen(at)
    assert at.read_text() == "mine"


def test_a_place_that_cannot_be_is_an_error_if_asked_for_and_a_warning_if_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    for impossible in (tmp_path / "file" / "one.sock", tmp_path / ("x" * 200)):
        with pytest.raises(HostError, match="name another path"):
            Admin(impossible, is_asked_for=True).open()
        caplog.clear()
        without = Admin(impossible, is_asked_for=False)
        without.open()
        without.start(None)  # type: ignore[arg-type]  # there is nothing to start
        without.close()
        assert [record.levelname for record in caplog.records] == ["WARNING"]

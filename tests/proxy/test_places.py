"""Is HAProxy found at any place that it can have, refused at one that it cannot, and not root as it works?"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PurePath
from types import SimpleNamespace

import pytest
from golden_haproxy import PROGRAM, needs_haproxy

from dsrlb.engines.haproxy import render, run_as
from dsrlb.engines.haproxy.places import Places
from dsrlb.engines.haproxy.process import Process
from dsrlb.engines.haproxy.run_as import RunAs, own_user
from dsrlb.errors import ConfigError

FRONTEND = "frontend f\n    mode tcp\n    timeout client 1s\n    bind abns@dsrlb-{}\n"  # no port, no file


@pytest.fixture(params=["plain", "a b", "it's #1:\\"])
def places(request: pytest.FixtureRequest, tmp_path: Path) -> Places:
    it = Places(tmp_path / request.param)
    it.make()
    return it


@pytest.fixture
def process(places: Places) -> Iterator[Process]:
    text = render.configuration((), {}, places.runtime, own_user())
    places.configuration.write_text(text + FRONTEND.format(os.getpid()))
    it = Process(str(PROGRAM), places)
    yield it
    it.stop()


def identity(pid: int, kind: str) -> set[str]:
    """Return the numbers of users, or groups, that a process works as."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {number for line in lines if line.startswith(f"{kind}:") for number in line.split()[1:]}


@needs_haproxy
def test_haproxy_takes_commands_at_any_place_and_works_as_its_own_user_and_group(process: Process) -> None:
    process.start()
    said = process.workers()
    assert said is not None and said.now is not None
    if own_user() == RunAs("haproxy", "haproxy"):
        assert "0" not in identity(said.now, "Uid") | identity(said.now, "Gid") | identity(said.now, "Groups")


@pytest.mark.parametrize("name", ["a,b", "$HOME", "a\nb", "\udcff"])
def test_a_place_that_would_be_another_to_haproxy_is_refused_in_a_sentence(name: str) -> None:
    with pytest.raises(ConfigError, match=r"cannot be a socket of HAProxy's, for .*--admin\)\.$"):
        render.configuration((), {}, PurePath(f"/run/{name}-haproxy/runtime.sock"))


def not_there(_: str) -> None:
    raise KeyError


@pytest.mark.parametrize(
    ("uid", "users", "groups", "expected"),
    [
        (0, len, len, RunAs("haproxy", "haproxy")),
        (0, len, not_there, RunAs("haproxy")),
        (0, not_there, len, RunAs()),
        (1000, len, len, RunAs()),
    ],
    ids=["both", "user", "neither", "not root"],
)
def test_haproxy_s_own_user_and_group_are_taken_where_they_are(
    uid: int, users: object, groups: object, expected: RunAs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    monkeypatch.setattr(run_as, "pwd", SimpleNamespace(getpwnam=users))
    monkeypatch.setattr(run_as, "grp", SimpleNamespace(getgrnam=groups))
    assert own_user() == expected

"""Is a HAProxy that is missing, too old or none told in a sentence, and what it refuses in its words?"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from dsrlb.engines.haproxy import program
from dsrlb.engines.haproxy.places import Places
from dsrlb.engines.haproxy.process import running
from dsrlb.errors import ConfigError

Put = Callable[[str], Path]


@pytest.fixture
def put(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Put:
    """Make a program of HAProxy's name the only one that is found."""
    monkeypatch.setattr(program, "SEARCHED", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))

    def write(script: str) -> Path:
        file = tmp_path / "haproxy"
        file.write_text(f"#!/bin/sh\n{script}\n")
        file.chmod(0o755)
        return file

    return write


def test_one_that_is_missing_is_told_with_its_package(put: Put) -> None:
    with pytest.raises(ConfigError, match="apt install haproxy"):
        program.program()


def test_one_that_is_too_old_is_told_with_its_version(put: Put) -> None:
    file = put("echo 'HA-Proxy version 2.2.9-2+deb11u6 2023/12/13'")
    with pytest.raises(ConfigError, match=f"{file} is HAProxy 2.2.9; mode proxy needs 2.6 or newer"):
        program.program()
    for version in ("2.6.0", "2.10.1", "3.0.5-1", "3.2-dev4"):
        put(f"echo 'HAProxy version {version} 2026/01/01'")
        assert program.program() == str(file)


def test_what_is_no_haproxy_is_told(put: Put) -> None:
    put("echo hello")
    with pytest.raises(ConfigError, match="is no HAProxy"):
        program.program()


def test_what_it_refuses_is_told_in_its_words_without_its_marks(put: Put, tmp_path: Path) -> None:
    path = str(put('/bin/cat >&2 "$3"; exit 1'))
    said = tmp_path / "said"
    said.write_text(
        "[NOTICE]   (99) : haproxy version is 2.6.12\n"
        "[ALERT]    (99) : config : parsing [/x.cfg:15] : unknown keyword 'bogus' in 'backend' section\n"
        "[ALERT]    (99) : config : Error(s) found in configuration file : /x.cfg\n"
        "[ALERT]    (99) : config : Fatal errors found in configuration.\n"
    )
    with pytest.raises(ConfigError) as refused:
        program.check(path, said)
    assert refused.value.problems == ("unknown keyword 'bogus' in 'backend' section",)
    said.write_text("")
    with pytest.raises(ConfigError, match="HAProxy refuses"):
        program.check(path, said)


def test_a_folder_whose_name_is_too_long_for_a_socket_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="too long a name"):
        Places(tmp_path / ("x" * 90)).make()


@pytest.mark.parametrize("content", ["", "x", "1\n", "-1", "999999999"])
def test_a_file_of_a_process_number_that_names_another_process_is_nobody_s(
    content: str, tmp_path: Path
) -> None:
    (tmp_path / "haproxy.pid").write_text(content)
    assert running(Places(tmp_path)) is None

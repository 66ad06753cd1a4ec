"""Is each line of the log an object, also the last ones?"""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from datetime import datetime, timedelta

import pytest

from dsrlb.cli.logs import JsonLines


def record(message: str, *args: object, exc_info: object = None) -> logging.LogRecord:
    return logging.LogRecord("dsrlb", logging.WARNING, "x.py", 1, message, args, exc_info)  # type: ignore[arg-type]


def test_a_line_is_one_object_with_time_level_and_event() -> None:
    line = JsonLines().format(record("backend %s says\n%s", "rs1", '"é"\x1b'))
    assert "\n" not in line and "\x1b" not in line
    said = json.loads(line)
    assert (said["level"], said["event"]) == ("warning", 'backend rs1 says\n"é"\x1b')
    assert datetime.fromisoformat(said["time"]).utcoffset() == timedelta(0)
    assert list(said) == ["time", "level", "event"]


def test_a_traceback_is_in_the_same_line() -> None:
    try:
        raise OSError("no map")
    except OSError:
        line = JsonLines().format(record("failed", exc_info=sys.exc_info()))
    assert "\n" not in line and json.loads(line)["traceback"].endswith("OSError: no map")


@pytest.mark.parametrize(
    ("words", "code"), [(["--config", "/nowhere.toml"], 2), (["--vip", "x"], 2), (["--metrics", "9311"], 2)]
)
def test_the_sentences_of_a_start_that_fails_are_objects_too(words: list[str], code: int) -> None:
    line = [sys.executable, "-m", "dsrlb", "serve", "--log-format", "json", *words]
    done = subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)
    said = [json.loads(one) for one in done.stderr.splitlines()]
    assert done.returncode == code and said and all(one["level"] == "error" for one in said)

"""Is HAProxy told what it is to be told, word for word, and does it take that?"""

from __future__ import annotations

from pathlib import Path

import pytest
from golden_haproxy import FOLDER, STORIES, certificates, complaints, needs_haproxy, told

from dsrlb.engines.haproxy.run_as import RunAs

each_story = pytest.mark.parametrize("story", STORIES, ids=lambda story: story.stem)


@each_story
def test_haproxy_is_told_for_a_file_what_stands_beside_it(story: Path) -> None:
    assert told(story.read_text()) == story.with_suffix(".cfg").read_text()


@each_story
@needs_haproxy
def test_haproxy_takes_it_without_a_warning(story: Path, tmp_path: Path) -> None:
    certificates(tmp_path)
    assert complaints(story.with_suffix(".cfg").read_text(), tmp_path) == ""


@pytest.mark.parametrize("story", ["tcp", "transparent"])
def test_haproxy_stays_root_only_where_it_speaks_from_clients_addresses(story: str) -> None:
    text = told((FOLDER / f"{story}.toml").read_text(), RunAs("haproxy", "haproxy"))
    assert ("    user haproxy\n    group haproxy\n" in text) == (story == "tcp")


@needs_haproxy
def test_a_configuration_that_is_wrong_would_be_noticed(tmp_path: Path) -> None:
    assert "unknown keyword" in complaints("defaults\n    nonsense\n", tmp_path)

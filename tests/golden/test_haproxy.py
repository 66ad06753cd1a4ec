"""Is HAProxy told what it is to be told, word for word, and does it take that?"""

from __future__ import annotations

from pathlib import Path

import pytest
from golden_haproxy import STORIES, certificates, complaints, needs_haproxy, told

each_story = pytest.mark.parametrize("story", STORIES, ids=lambda story: story.stem)


@each_story
def test_haproxy_is_told_for_a_file_what_stands_beside_it(story: Path) -> None:
    assert told(story.read_text()) == story.with_suffix(".cfg").read_text()


@each_story
@needs_haproxy
def test_haproxy_takes_it_without_a_warning(story: Path, tmp_path: Path) -> None:
    certificates(tmp_path)
    assert complaints(story.with_suffix(".cfg").read_text(), tmp_path) == ""


@needs_haproxy
def test_a_configuration_that_is_wrong_would_be_noticed(tmp_path: Path) -> None:
    assert "unknown keyword" in complaints("defaults\n    nonsense\n", tmp_path)

"""Does the reference say what the parser takes, and are its examples right?"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dsrlb.config import config_in
from dsrlb.config.keys import Table
from dsrlb.config.reference import reference
from dsrlb.config.schema import TABLES
from dsrlb.errors import ConfigError

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/configuration.md").read_text()
EXAMPLE = ROOT / "docs/examples/dsrlb.toml"


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.head)
def test_the_page_has_the_reference_of_each_table(table: Table) -> None:
    """``python -m dsrlb.config.reference`` prints what the page has to say."""
    assert reference(table) in PAGE


def test_the_example_file_has_no_problem_and_shows_the_most_used_keys() -> None:
    content = EXAMPLE.read_bytes()
    config = config_in(content, EXAMPLE.name)
    assert len(config.services) == 3 and config.interfaces
    for key in ("scheduler", "weight", "timeouts", "name", "check"):
        assert key in content.decode()


def toml_blocks(path: Path) -> list[str]:
    return re.findall(r"^```toml\n(.*?)^```", path.read_text(), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize(
    "path",
    [
        ROOT / "docs/configuration.md",
        ROOT / "docs/health.md",
        ROOT / "docs/modes/proxy.md",
        ROOT / "README.md",
    ],
    ids=lambda path: path.name,
)
def test_the_examples_of_a_page_have_no_problem(path: Path) -> None:
    blocks = toml_blocks(path)
    assert blocks
    for block in blocks:
        assert config_in(block.encode(), path.name).services


def test_problems_that_the_page_shows_are_those_that_are_told() -> None:
    text = """[[service]]
mode = "l2dsr"
vip = "198.18.1.100:80"
scheduller = "rr"

[[service.backend]]
name = "a"
address = "198.18.1.11"
weight = "2"

[[service]]
vip = "198.18.1.100:80"
mode = "l2dsr"
backend = [{ address = "198.18.1.11" }]
"""
    with pytest.raises(ConfigError) as caught:
        config_in(text.encode(), "dsrlb.toml")
    assert "\n".join(caught.value.problems) in PAGE

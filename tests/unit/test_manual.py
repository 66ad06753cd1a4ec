"""Is the manual page what the command line says of itself, in roff that means what it should?"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from dsrlb.cli import cli, manual

README = Path(__file__).parents[2] / "README.md"


@pytest.fixture(scope="module")
def page() -> str:
    return manual.page()


def every(ctx: click.Context) -> Iterator[click.Context]:
    if not isinstance(ctx.command, click.Group):
        yield ctx
        return
    for name, command in ctx.command.commands.items():
        yield from every(click.Context(command, info_name=name, parent=ctx))


def test_each_command_has_its_part_with_each_of_its_options(page: str) -> None:
    missing = []
    for ctx in every(click.Context(cli, info_name="dsrlb")):
        found = re.search(
            rf"^\.SS {re.escape(manual.escaped(ctx.command_path))} .*?(?=^\.S[HS]|\Z)", page, re.M | re.S
        )
        told = found[0] if found else ""
        flags = [flag for option in ctx.command.params for flag in option.opts if flag.startswith("--")]
        missing += [f"{ctx.command_path} {flag}" for flag in flags if manual.escaped(flag) not in told]
        missing += [] if found else [ctx.command_path]
    assert missing == []


def test_the_exit_codes_are_those_of_the_readme(page: str) -> None:
    table = README.read_text().split("## Exit codes")[1]
    assert [code for code, _ in manual.EXIT_CODES] == re.findall(
        r"^\| (\d) \|", table.split("\n## ")[0], re.M
    )


def test_text_is_printed_as_it_is_whatever_it_begins_with() -> None:
    assert manual.escaped(".so /etc/passwd\n'x\nC:\\d -x") == "\\&.so /etc/passwd\n\\&'x\nC:\\ed \\-x"


def test_lines_that_click_does_not_fill_are_not_filled() -> None:
    assert list(manual.paragraphs("One\ntwo.\n\n\b\na  b\n.c")) == [
        ".PP\nOne two.",
        ".PP\n.nf\na  b\n\\&.c\n.fi",
    ]


def test_the_same_sources_make_the_same_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    assert '.TH DSRLB 8 "1970-01-02" "dsrlb 0.' in manual.page()


@pytest.mark.skipif(
    shutil.which("groff") is None, reason="groff is not here; scripts/release-check asks it as well"
)
def test_groff_has_nothing_to_say_about_it(page: str) -> None:
    command = ["groff", "-man", "-ww", "-Tutf8", "-rLL=120n"]
    done = subprocess.run(command, input=page, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert "dsrlb completion" in done.stdout

"""Do the documents say what is there?"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

import balancer
import click
import pytest

from dsrlb import modes, schedulers
from dsrlb.cli import cli
from dsrlb.datapath import process
from dsrlb.model import PASS_REASONS, SENT_REASONS, Action, Backend, Hop, Reason, Service
from dsrlb.state import State
from dsrlb.table import compile_table

ROOT = Path(__file__).parents[2]
NOT_OURS = re.compile(r"\.|build$|dist$")
DOCUMENTS = sorted(
    path
    for path in ROOT.rglob("*.md")
    if not any(NOT_OURS.match(part) for part in path.relative_to(ROOT).parts[:-1])
)
README = (ROOT / "README.md").read_text()


def rows(text: str, heading: str) -> list[list[str]]:
    """Return the cells of the table whose first heading is this one, without heading and rule."""
    lines = text.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith(f"| {heading} |"))
    table = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        table.append([cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
    return table


def verdict(reason: Reason) -> str:
    return "sent" if reason in SENT_REASONS else "pass" if reason in PASS_REASONS else "drop"


def test_the_table_of_reasons_is_the_enum_with_the_right_verdicts() -> None:
    table = rows((ROOT / "docs/REASONS.md").read_text(), "Reason")
    assert [(row[0].strip("`"), row[1]) for row in table] == [(one.word, verdict(one)) for one in Reason]


def test_every_reason_is_explained_and_answered() -> None:
    for row in rows((ROOT / "docs/REASONS.md").read_text(), "Reason"):
        assert len(row) == 4, row
        assert all(cell.endswith(".") for cell in row[2:]), row


def test_the_readme_lists_the_schedulers_that_there_are() -> None:
    listed = [row[0].strip("`") for row in rows(README, "Scheduler")]
    assert listed == [scheduler.name for scheduler in schedulers.SCHEDULERS]


def test_the_readme_tells_the_modes_that_are_here_from_those_that_are_planned() -> None:
    state = {re.sub(r"[`\[]|\].*", "", row[0]): row[2] for row in rows(README, "Mode")}
    assert {name for name, word in state.items() if word == "here"} == set(modes.BY_NAME)
    assert set(state.values()) <= {"here", "planned"}


def command_lines(text: str) -> Iterator[list[str]]:
    """Yield the words of every ``dsrlb ...`` command: whole in code blocks and in code spans."""
    text = text.replace("\\\n", " ")
    blocks = re.findall(r"^```(.*?)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    lines = [line for kind, block in blocks if kind in ("", "sh") for line in block.splitlines()]
    lines += re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))
    for line in lines:
        found = re.match(r"(?:sudo )?dsrlb (.*)", line)
        if found:
            yield shlex.split(found[1], comments=True)


def unknown_in(words: list[str]) -> list[str]:
    """Return the commands and options among the words of a command line that the CLI does not have."""
    here: click.Command = cli
    unknown = []
    for word in words:
        if word.startswith("-"):
            names = {name for option in here.params for name in (*option.opts, *option.secondary_opts)}
            if word.split("=")[0] not in names | {"-h", "--help"}:
                unknown.append(word)
        elif isinstance(here, click.Group) and word.islower():
            if word not in here.commands:
                return [*unknown, word]
            here = here.commands[word]
    return unknown


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_command_in_a_document_exists_with_its_options(path: Path) -> None:
    assert [line for line in command_lines(path.read_text()) if unknown_in(line)] == []


def test_the_readme_shows_every_command() -> None:
    shown = {tuple(word for word in line if not word.startswith("-"))[:1] for line in command_lines(README)}
    assert {(name,) for name in cli.commands} <= shown


def test_a_command_or_an_option_that_is_not_there_would_be_found() -> None:
    assert unknown_in(["serve", "--no-such", "1"]) == ["--no-such"]
    assert unknown_in(["backend", "destroy"]) == ["destroy"]
    assert unknown_in(["backend", "verify", "--plan"]) == ["--plan"]


@pytest.mark.parametrize("flag", re.findall(r"`(--[a-z-]+)", README) or [""])
def test_an_option_that_the_readme_mentions_is_one_of_serve(flag: str) -> None:
    every = {name for command in walk(cli) for option in command.params for name in option.opts}
    assert flag in every | {"--help"}


def walk(command: click.Command) -> Iterator[click.Command]:
    yield command
    if isinstance(command, click.Group):
        for each in command.commands.values():
            yield from walk(each)


def anchors(text: str) -> set[str]:
    """Return the anchors of a document's headings, as web sites make them."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links(path: Path) -> Iterator[str]:
    """Yield the targets of the links of a document that lead to this repository."""
    text = re.sub(r"^```.*?^```", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if not re.match(r"[a-z]+:", target):
            yield target


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_relative_link_leads_somewhere(path: Path) -> None:
    dead = []
    for link in links(path):
        name, _, anchor = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        if not target.exists() or (anchor and anchor not in anchors(target.read_text())):
            dead.append(link)
    assert dead == []


@pytest.mark.parametrize("script", sorted(set(re.findall(r"scripts/[a-z.-]*[a-z]", README))))
def test_a_script_that_the_readme_names_is_there(script: str) -> None:
    assert (ROOT / script).is_file()


def hex_block(kind: str, name: str = "docs/ARCHITECTURE.md") -> bytes:
    """Return the bytes of a page's hexadecimal block of this kind."""
    page = (ROOT / name).read_text()
    found = re.search(rf"^ *```hex {kind}\n(.*?)^ *```", page, re.MULTILINE | re.DOTALL)
    assert found is not None
    return b"".join(bytes.fromhex(re.split(r" {3,}", line.strip())[0]) for line in found[1].splitlines())


def test_the_worked_example_is_what_the_data_path_does() -> None:
    ifindex, own_mac = 3, bytes.fromhex("0200c6120110")
    backends = tuple(Backend(ip_address(f"198.18.1.{number}")) for number in (11, 12, 13))
    hops = {
        one.address: Hop(ifindex, own_mac, bytes.fromhex(f"0200c61201{str(one.address)[-2:]}"))
        for one in backends
    }
    service = Service(ip_address("198.18.1.100"), 80, "tcp", "l2dsr", "maglev", backends)
    table = compile_table([service], hops, {ifindex: own_mac})
    assert process(hex_block("in"), ifindex, table, State(), now_s=0) == (
        Action.TX,
        Reason.FORWARDED,
        ifindex,
        hex_block("out"),
    )


def test_the_translated_packet_on_the_page_of_inline_is_what_the_data_path_makes() -> None:
    name = "docs/modes/inline.md"
    table = balancer.table(["198.18.1.100:80"], ["198.18.2.11:8080,mac=02:00:c6:12:02:11"], mode="inline")
    assert balancer.one(hex_block("in", name), table)[3] == hex_block("out", name)


def test_the_wrapped_packet_on_the_page_of_l3dsr_is_what_the_data_path_makes() -> None:
    name = "docs/modes/l3dsr.md"
    table = balancer.table(["198.18.1.100:80"], ["198.18.21.2,mac=02:00:c6:12:01:00"], mode="l3dsr")
    assert balancer.one(hex_block("in", name), table)[3] == hex_block("out", name)


def test_the_table_of_the_doctor_has_each_name_of_a_finding() -> None:
    listed = " ".join(row[0] for row in rows((ROOT / "docs/doctor.md").read_text(), "Name"))
    sources = "".join(file.read_text() for file in (ROOT / "dsrlb/doctor").glob("*.py"))
    named = set(re.findall(r'\b(?:Finding|About|_wrong)\(\s*"([a-z_]+)"', sources))
    assert len(named) > 20
    assert named - set(re.findall(r"`([a-z_]+)`", listed)) == set()

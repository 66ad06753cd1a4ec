"""Do the laws of the configuration file hold for any file?"""

from __future__ import annotations

import contextlib
import re
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from dsrlb.cli.options import config_of
from dsrlb.config import config_in, parse_backend, parse_vip
from dsrlb.config.lines import lines_of, tomllib
from dsrlb.config.places import Path
from dsrlb.config.schema import TABLES
from dsrlb.errors import ConfigError

# ----------------------------------------------------------------------------- lines

KEYS = st.sampled_from(["a", "b-1", "_", '"q.]"', "'l\"'", '"\\u0041"', "7"])
SCALARS = st.sampled_from(
    [
        "1",
        "'x'",
        '"]"',
        "true",
        "1979-05-27 07:32:00",
        '"""\n[x]\na = 1\n"""',
        "'''\n\"\n'''",
        "{}",
        "[]",
        "-0.5",
    ]
)
GAPS = st.sampled_from(["", " ", "\n", "\n# ] , }\n", "\t"])
ARRAYS = st.recursive(
    SCALARS,
    lambda inner: (
        st.builds(
            lambda parts: f"[{','.join(before + one + after for before, one, after in parts)}]",
            st.lists(st.tuples(GAPS, inner, GAPS), max_size=3),
        )
        | st.builds(
            lambda pairs: "{" + ", ".join(f"{key} = {one}" for key, one in pairs.items()) + "}",
            st.dictionaries(st.sampled_from(["p", '"q q"', "r.s"]), inner, max_size=2),
        )
    ),
    max_leaves=5,
)
STATEMENTS = st.lists(
    st.one_of(
        st.builds("{}{} = {}".format, st.sampled_from(["", "  "]), KEYS, ARRAYS),
        st.builds("{}.{} = {}".format, KEYS, KEYS, SCALARS),
        st.builds("[{}]".format, KEYS),
        st.builds("[ {} . {} ]".format, KEYS, KEYS),
        st.builds("[[{}]]".format, KEYS),
        st.builds("[[{}.{}]] # [c]".format, KEYS, KEYS),
        st.sampled_from(["", "# a = 1", "  # [[x]]"]),
    ),
    max_size=12,
)


def paths(value: Any, path: Path = ()) -> set[Path]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return {path, *(found for name, one in inner for found in paths(one, (*path, name)))} - {()}


def valid(statements: list[str]) -> list[str]:
    """Return the statements that together make a TOML document: each that would break it is left out."""
    kept: list[str] = []
    for statement in statements:
        with contextlib.suppress(tomllib.TOMLDecodeError):
            tomllib.loads("\n".join([*kept, statement]))
            kept.append(statement)
    return kept


@given(STATEMENTS)
def test_every_path_of_a_document_has_a_line_and_no_other_path_has(statements: list[str]) -> None:
    text = "\n".join(valid(statements))
    assert set(lines_of(text)) == paths(tomllib.loads(text))


@given(STATEMENTS)
def test_a_path_is_on_the_first_line_of_the_statement_that_brings_it_or_in_its_array(
    statements: list[str],
) -> None:
    kept = valid(statements)
    found = lines_of("\n".join(kept))
    before: set[Path] = set()
    line = 1
    for number, statement in enumerate(kept):
        after = paths(tomllib.loads("\n".join(kept[: number + 1])))
        new = {found[path] for path in after - before}
        assert new <= set(range(line, line + statement.count("\n") + 1))
        if new:
            assert min(new) == line
        before, line = after, line + statement.count("\n") + 1


# ----------------------------------------------------------------------------- never a traceback

NAMES = sorted({key.name for table in TABLES for key in table.keys})
WORDS = st.sampled_from(
    [
        "",
        "web",
        "198.18.1.100:80",
        "198.18.1.11",
        "2001:db8::1",
        "[2001:db8::1]:53/udp",
        "l2dsr",
        "rr",
        "300/24",
        "gue",
    ]
) | st.text(max_size=8)
VALUES = st.recursive(
    st.one_of(WORDS, st.integers(), st.booleans(), st.floats(), st.datetimes(), st.dates(), st.times()),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES) | st.text(), inner, max_size=3)
    ),
    max_leaves=8,
)
BACKENDS = st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=4)
SERVICES = st.builds(
    lambda one, backends: one | {"backend": backends},
    st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=6),
    st.lists(BACKENDS, max_size=3) | VALUES,
)
DOCUMENTS = st.builds(
    lambda one, services: one | {"service": services},
    st.dictionaries(st.sampled_from(NAMES) | st.text(), VALUES, max_size=2),
    st.lists(SERVICES, max_size=3) | VALUES,
)


def toml(value: Any) -> str:
    """Return a value as TOML writes it, tables inline."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "{" + ", ".join(f"{toml(str(key))} = {toml(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    if isinstance(value, str):
        return '"' + "".join(f"\\U{ord(one):08x}" for one in value if not 0xD800 <= ord(one) < 0xE000) + '"'
    return str(value) if isinstance(value, int | float) else value.isoformat()


@given(DOCUMENTS)
def test_any_document_is_a_configuration_or_a_list_of_problems_with_lines(document: dict[str, Any]) -> None:
    text = "\n".join(f"{toml(key)} = {toml(value)}" for key, value in document.items())
    check_told(text.encode())


@given(st.binary(max_size=60) | st.text(alphabet="[]{}=.,\"'\n#a1\\ ", max_size=60).map(str.encode))
def test_any_bytes_are_a_configuration_or_a_list_of_problems_with_lines(content: bytes) -> None:
    check_told(content)


def check_told(content: bytes) -> None:
    try:
        config = config_in(content, "f.toml")
    except ConfigError as error:
        assert error.problems
        last = content.count(b"\n") + 1
        for problem in error.problems:
            match = re.fullmatch(r"f\.toml:(\d+): [^\n]+", problem)
            assert match is not None and 1 <= int(match[1]) <= last, problem
    else:
        assert config.services and all(one.backends or one.proxy for one in config.services)


# ----------------------------------------------------------------------------- as flags

SOME_VIPS = st.sampled_from(["198.18.1.100:80", "198.18.1.101:*/udp", "[2001:db8::1]:80", "198.18.1.11:80"])
FLAG_BACKENDS = st.lists(
    st.tuples(
        st.sampled_from(["198.18.1.11", "198.18.1.12", "2001:db8::11"]),
        st.sampled_from([None, 80, 8080]),
        st.sampled_from([None, 0, 2]),
        st.sampled_from([None, "02:00:c6:12:01:11", "02:00:c6:12:01:12"]),
        st.sampled_from([None, "a", "b"]),
    ),
    min_size=1,
    max_size=3,
)
OPTIONS = st.dictionaries(st.sampled_from(["clamp_mss", "snat"]), st.booleans(), max_size=2)
PERSISTS = st.sampled_from([None, "300", "300/24", "300/64"])


def as_flag(address: str, port: int | None, weight: int | None, mac: str | None, name: str | None) -> str:
    host = address if port is None else f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
    return host + "".join(
        f",{key}={value}"
        for key, value in (("weight", weight), ("mac", mac), ("name", name))
        if value is not None
    )


def as_table(address: str, port: int | None, weight: int | None, mac: str | None, name: str | None) -> str:
    pairs = {"address": address, "port": port, "weight": weight, "mac": mac, "name": name}
    return "[[service.backend]]\n" + "".join(
        f"{key} = {toml(value)}\n" for key, value in pairs.items() if value is not None
    )


@given(SOME_VIPS, FLAG_BACKENDS, OPTIONS, PERSISTS)
def test_a_file_and_the_flags_that_say_the_same_mean_the_same_or_have_the_same_problems(
    vip: str, backends: list[Any], options: dict[str, bool], persist: str | None
) -> None:
    lines = {"vip": vip, "mode": "l2dsr", "persist": persist, **options}
    head = "".join(f"{key} = {toml(value)}\n" for key, value in lines.items() if value is not None)
    text = "[[service]]\n" + head + "".join(as_table(*one) for one in backends)
    seconds, _, prefix = (persist or "").partition("/")
    by_file = by_flags = None
    told_by_file: set[str] = set()
    told_by_flags: set[str] = set()
    try:
        by_file = config_in(text.encode(), "f.toml")
    except ConfigError as error:
        told_by_file = {problem.partition(": ")[2] for problem in error.problems}
    try:
        by_flags = config_of(
            "l2dsr",
            (parse_vip(vip),),
            tuple(parse_backend(as_flag(*one)) for one in backends),
            persist=(int(seconds), int(prefix) if prefix else None) if persist else None,
            options=options,
        )
    except ConfigError as error:
        told_by_flags = set(error.problems)
    assert (by_file, told_by_file) == (by_flags, told_by_flags)

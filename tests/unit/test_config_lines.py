"""Is every key of a TOML file found on its line, however the file is written?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from dsrlb.config.lines import lines_of, tomllib
from dsrlb.config.places import Origin, Path
from dsrlb.config.toml import NotToml, parse


def paths(value: Any, path: Path = ()) -> Iterator[Path]:
    """Yield the path of everything in a document, as the TOML library sees it."""
    if path:
        yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, one in inner:
        yield from paths(one, (*path, name))


def check(text: str, expected: dict[Path, int]) -> None:
    found = lines_of(text)
    assert set(found) == set(paths(tomllib.loads(text)))
    assert {path: found[path] for path in expected} == expected


def test_tables_arrays_of_tables_and_what_is_in_them() -> None:
    check(
        """# a comment with a = 1
interfaces = ["eth0"]  # another [x]

[[service]]
vip = "198.18.1.100:80"
  [service.timeouts]
  udp = 30
[[service.backend]]
address = "198.18.1.11"
  [[service.backend]]
  address = "198.18.1.12"

[[ service ]]
vip = "198.18.1.101:80"
[[service . "backend"]]
address = "198.18.1.13"
""",
        {
            ("interfaces",): 2,
            ("interfaces", 0): 2,
            ("service",): 4,
            ("service", 0): 4,
            ("service", 0, "vip"): 5,
            ("service", 0, "timeouts"): 6,
            ("service", 0, "timeouts", "udp"): 7,
            ("service", 0, "backend"): 8,
            ("service", 0, "backend", 0): 8,
            ("service", 0, "backend", 0, "address"): 9,
            ("service", 0, "backend", 1): 10,
            ("service", 0, "backend", 1, "address"): 11,
            ("service", 1): 13,
            ("service", 1, "vip"): 14,
            ("service", 1, "backend", 0): 15,
            ("service", 1, "backend", 0, "address"): 16,
        },
    )


def test_inline_tables_and_arrays_over_several_lines() -> None:
    check(
        """service = [
  { vip = "a", backend = [ { address = "1" },
                           { address = "2", "we.ight" = 1 } ] },  # ] }
  # { vip = "x" }
  { timeouts.udp = 3, mac = '}' }
]
""",
        {
            ("service",): 1,
            ("service", 0): 2,
            ("service", 0, "backend", 0, "address"): 2,
            ("service", 0, "backend", 1): 3,
            ("service", 0, "backend", 1, "we.ight"): 3,
            ("service", 1): 5,
            ("service", 1, "timeouts", "udp"): 5,
            ("service", 1, "mac"): 5,
        },
    )


def test_dotted_and_quoted_keys() -> None:
    check(
        """a.b . c = 1
a."b".'d' = 2
"x \\"] y" = 3
'q"\\' = 4
"" = 5
["t.u".v]
1.2 = 6
-_9 = 7
""",
        {
            ("a", "b", "c"): 1,
            ("a", "b", "d"): 2,
            ('x "] y',): 3,
            ('q"\\',): 4,
            ("",): 5,
            ("t.u", "v"): 6,
            ("t.u", "v", "1"): 7,
            ("t.u", "v", "1", "2"): 7,
            ("t.u", "v", "-_9"): 8,
        },
    )


@pytest.mark.parametrize(
    "value",
    [
        '"""\nx = 1\n[a]\n"""',
        '"""a\n""b""\n"""""',
        '"""\\"""\n\\\\"""',
        '"""\n"""""',
        '""""\n"""',
        "'''\n'' [b]\n'''''",
        "'''\n\\'''",
        "[\n[1, 2],\n[\"]\", '#'], # ]\n[]]",
        '[ """\n]""", "\\"]", [\n] ]',
        "{ a = { b = [\n] } }",
        '"\\u005d\\\\"',
        "1979-05-27 07:32:00",
        "1979-05-27T00:32:00.999999-07:00",
        "+1_000.0e-3",
        "0xdead_beef",
        "-inf",
        "false",
        "''",
        '""',
    ],
)
def test_what_comes_after_any_value_is_on_its_own_line(value: str) -> None:
    text = f"before = 0\nkey = {value} # c = 1\nafter = 1\n"
    check(text, {("before",): 1, ("key",): 2, ("after",): 3 + value.count("\n")})
    check(text.replace("\n", "\r\n"), {("after",): 3 + value.count("\n")})


def test_an_empty_file_and_one_without_an_end_of_line() -> None:
    check("", {})
    check("\n# nothing\n", {})
    check("\n\na = 1", {("a",): 3})
    check("[a]", {("a",): 1})


def test_a_key_that_is_not_there_is_at_the_table_around_it() -> None:
    origin = Origin("f", lines_of("\n[[service]]\nmode = 'x'\n"))
    assert origin.line(("service", 0, "vip")) == 2
    assert origin.line(("service", 0, "backend", 3, "address")) == 2
    assert origin.line(("interfaces",)) == origin.line(()) == 1


@pytest.mark.parametrize(
    ("content", "line", "words"),
    [
        (b"a = 1\nb 2\n", 2, "Expected '=' after a key"),
        (b"a = 1\nb = on\n", 2, "texts are in quotes"),
        (b"a = 1\nb = 198.18.1.11\n", 2, "write one key = value on a line"),
        (b"a = [1\nb = 2\n", 2, "Unclosed array"),
        (b"[service]\na = 1\n[service]\n", 3, "as in [[service]]"),
        (b"a = 1\na = 2\n", 2, "give each key once"),
        (b'a = 1\nb = "x\n', 2, "this is not TOML"),
        (b'\na = """x\n\n', 2, "Unterminated string"),
        (b"a = 1\n\n[b\n", 3, "this is not TOML"),
        (b'a = "\xff"\n', 1, "not UTF-8"),
        (b"a = 1\nb = '\xc3'", 2, "not UTF-8"),
        (b"a = " + b"9" * 5000, 1, "this is not TOML"),
        (b"a = " + b"[" * 50_000, 1, ""),
        (b"\x00", 1, "this is not TOML"),
        (b"#" * (1 << 24) + b"#", 1, "16 MiB"),
    ],
)
def test_what_is_no_toml_is_told_with_its_line_and_in_one(content: bytes, line: int, words: str) -> None:
    with pytest.raises(NotToml) as caught:
        parse(content)
    assert caught.value.line == line, caught.value.sentence
    assert words in caught.value.sentence
    assert "\n" not in caught.value.sentence


def test_a_byte_order_mark_is_no_part_of_the_first_key() -> None:
    assert parse(b"\xef\xbb\xbfa = 1\n") == ({"a": 1}, {("a",): 1})

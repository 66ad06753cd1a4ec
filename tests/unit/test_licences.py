"""Which licence a file is under, is it said, and is the text there?"""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BPF = ROOT / "dsrlb" / "bpf"
EITHER = "(BSD-2-Clause OR GPL-2.0-only)"
APACHE = "Apache-2.0"
OF_ITS_OWN = {BPF / "decap.bpf.c": APACHE}  # calls nothing that asks for another one
TEXTS = {"LICENSE": "Apache License", "LICENSES/BSD-2-Clause.txt": "Redistribution and use in source",
         "LICENSES/GPL-2.0-only.txt": "Version 2, June 1991"}  # fmt: skip


@pytest.mark.parametrize("path", sorted(BPF.rglob("*.[ch]")), ids=lambda path: str(path.relative_to(BPF)))
def test_the_first_line_of_each_c_file_names_its_licence(path: Path) -> None:
    first = path.read_text().splitlines()[0]
    assert first.startswith(f"/* SPDX-License-Identifier: {OF_ITS_OWN.get(path, EITHER)}")


@pytest.mark.parametrize("name", TEXTS)
def test_the_text_of_each_licence_is_there(name: str) -> None:
    assert TEXTS[name] in (ROOT / name).read_text()


def test_the_package_says_both_and_carries_the_texts() -> None:
    said = (ROOT / "pyproject.toml").read_text()
    assert f'"{APACHE} AND {EITHER}"' in said
    assert 'license-files = ["LICENSE", "LICENSES/*.txt"]' in said

"""A lab of l3dsr whose server rs1 has a kernel of its own, with tunnel devices: ``tests/uml_machine.py``."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from lab_shared import shared_directories as shared_directories
from lab_wire import TEST_PREFIX
from uml_machine import Machine, is_here, server_of

from dsrlb.lab.lifecycle import standing
from dsrlb.lab.topology import Lab


@pytest.fixture(scope="session")
def lab(shared_directories: None) -> Iterator[Lab]:
    if not is_here():
        pytest.skip("there is no UML: apt-get install user-mode-linux kmod")
    with standing(Lab(prefix=f"{TEST_PREFIX}u-", mode="l3dsr", servers=1)) as it:
        yield it


@pytest.fixture(scope="session")
def machine(lab: Lab) -> Iterator[Machine]:
    with server_of(lab) as it:
        yield it

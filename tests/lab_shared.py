"""What labs of several workers share, and none may take from another."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest
from lab_wire import TEST_PREFIX, eventually

from dsrlb.host.steps_state import BASE
from dsrlb.lab.topology import RUN_ROOT


@pytest.fixture(scope="session", autouse=True)
def shared_directories() -> Iterator[None]:
    """Keep what all labs share under /run from being empty.

    A lab that goes away removes these directories when nothing is in them: just then another worker's
    lab may be about to make something there.
    """
    mine = [parent / f"{TEST_PREFIX}tests" for parent in (RUN_ROOT, BASE)]

    def made() -> bool:
        with contextlib.suppress(FileNotFoundError):  # another worker removed the parent in between
            for one in mine:
                one.mkdir(parents=True, exist_ok=True)
        return all(one.is_dir() for one in mine)

    assert eventually(made, 10)
    yield
    for one in mine:
        with contextlib.suppress(FileNotFoundError):  # tests in several folders each have this fixture
            one.rmdir()
    for parent in (RUN_ROOT, BASE, BASE.parent):
        with contextlib.suppress(OSError):  # another worker's are in there
            parent.rmdir()
